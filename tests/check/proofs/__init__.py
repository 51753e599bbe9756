"""A proof for each rule: what nginx does with its bad configuration, and that it does not with the good one.

`@proof("rule-id")` stands before `async def prove(room)`; it returns one line of what was seen, and raises `Wrong` where the
claim is not so. Every proof is run with each nginx there is.
"""

PROOFS = {}


def proof(rule):
    def keep(function):
        PROOFS[rule] = function
        return function

    return keep
