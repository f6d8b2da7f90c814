# Prints every allow rule of some domains as JSON, attributes expanded: {domain: {class: {permission: [type]}}}.
# setools is the library behind sesearch; one pass answers what would take one sesearch a question.
# Conditional rules count whichever way their booleans stand: what may be allowed is what matters.
import json
import sys

import setools

policy = setools.SELinuxPolicy(sys.argv[1])
domains = sys.argv[2:]
expanded = {}


def types(of):
    name = str(of)
    if name not in expanded:
        expanded[name] = {str(t) for t in of.expand()}
    return expanded[name]


known = {str(t) for t in policy.types()}
for domain in domains:
    if domain not in known:
        sys.exit(f"the policy has no type {domain}")

answer = {domain: {} for domain in domains}
for rule in policy.terules():
    if rule.ruletype != setools.TERuletype.allow:
        continue
    for domain in domains:
        if domain not in types(rule.source):
            continue
        # A rule to `self` of an attribute is about each member itself.
        target = str(rule.target)
        targets = {domain} if target == "self" else types(rule.target)
        perms = answer[domain].setdefault(str(rule.tclass), {})
        for perm in rule.perms:
            perms.setdefault(str(perm), set()).update(targets)
json.dump(answer, sys.stdout, default=sorted, sort_keys=True)
