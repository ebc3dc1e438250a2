"""What a worker raises when a combination cannot be measured, by the status it becomes."""


class Unsupported(Exception):
    """The runtime or the device cannot do what was asked: the message says what and why."""


class Unavailable(Exception):
    """Data that a user has to provide cannot be used: the message says what is wrong with them."""


class Incorrect(Exception):
    """The outputs are not those of the model: the message says by how much."""
