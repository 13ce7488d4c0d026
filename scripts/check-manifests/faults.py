"""What is wrong with a manifest, or with what came of it."""


class Fault(Exception):
    pass
