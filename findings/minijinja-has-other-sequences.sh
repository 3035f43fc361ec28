#!/usr/bin/env bash
# minijinja 3.1.0 beside Jinja2 3.1.6. The test `is sequence` is true of texts and of maps in Jinja2, and of neither in minijinja. Chat
# templates that tell a message's text from its list of parts by that test take the other branch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet minijinja==3.1.0 jinja2==3.1.6
"$work/env/bin/python" - <<'PYTHON'
import jinja2, minijinja

template = "{{ x is sequence }}"
for x, theirs, ours in [("text", "True", "false"), ({"a": 1}, "True", "false"), ([1], "True", "true")]:
    seen = jinja2.Environment().from_string(template).render(x=x), minijinja.Environment().render_str(template, x=x)
    print(repr(x), "Jinja2", seen[0], "minijinja", seen[1])
    assert (seen[0], seen[1].lower()) == (theirs, ours)
PYTHON
