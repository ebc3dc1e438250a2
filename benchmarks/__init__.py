"""What hwfit costs and how true it is, measured side by side with a loop written by hand and its peers."""
