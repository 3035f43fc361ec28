#!/usr/bin/env bash
# minijinja 3.1.0 beside Jinja2 3.1.6. Jinja2 turns every line end of a template, CR LF and a lone CR too, into LF before it reads
# it, within string literals as well; minijinja keeps them. A chat template that was edited on Windows then gives a model
# carriage returns that it has never seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet minijinja==3.1.0 jinja2==3.1.6
"$work/env/bin/python" - <<'PYTHON'
import jinja2, minijinja

template = "user\r\n{{ 'a\r\nb' }}\rend"
theirs = jinja2.Environment().from_string(template).render()
ours = minijinja.Environment().render_str(template)
print("Jinja2", repr(theirs))
print("minijinja", repr(ours))
assert theirs == "user\na\nb\nend"
assert ours == "user\r\na\r\nb\rend"
PYTHON
