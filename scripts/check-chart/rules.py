"""What must hold. A rule is a function that takes a rendering and tells faults; its name says what holds."""

RULES = []


def rule(function):
    RULES.append(function)
    return function


def faults(rendering):
    for function in RULES:
        for fault in function(rendering):
            yield f"{rendering.name}: {function.__name__}: {fault}"
