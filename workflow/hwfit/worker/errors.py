"""What a worker raises when a combination cannot be measured, by the status it becomes."""


class Unsupported(Exception):
    """The runtime or the device cannot do what was asked: the message says what and why."""


class Unavailable(Exception):
    """What has to be fetched, or what a user has to provide, cannot be used: the message says why."""


class Incorrect(Exception):
    """The outputs are not those of the model: the message says by how much."""
