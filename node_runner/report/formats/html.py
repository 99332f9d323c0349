"""One page of HTML that needs nothing else: styles and figures are in it."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from ..document import Picture, Report, Section, Table

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>node_runner report</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em;
  color: #1c1c1c; }}
h1 {{ font-size: 1.5em; }}
h2 {{ font-size: 1.15em; margin-top: 2.5em; }}
.wide {{ overflow-x: auto; margin: 1em 0; }}
table {{ border-collapse: collapse; font-size: 0.86em; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.3em 0.8em; text-align: left; vertical-align: top; }}
thead th {{ border-bottom: 2px solid #1c1c1c; font-weight: 600; }}
tbody tr + tr td {{ border-top: 1px solid #d8d8d8; }}
td.not-done {{ color: #a03020; }}
p.after {{ font-size: 0.86em; color: #444; max-width: 60em; }}
figure {{ margin: 1em 0; max-width: 60em; }}
figure img {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>node_runner: published and own figures</h1>
{body}
</body>
</html>
"""
NOT_DONE = ("missing", "diverged", "failed", "stopped", "unfinished")


def render(report: Report) -> str:
    parts = [*map(of_section, report.sections), *map(of_picture, report.pictures)]
    return PAGE.format(body="\n".join(parts))


def of_section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.before]
    parts += map(of_table, section.tables)
    parts += [f'<p class="after">{escape(text)}</p>' for text in section.after]
    return "\n".join(parts)


def of_table(table: Table) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(f"<tr>{''.join(map(of_cell, row))}</tr>" for row in table.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{header}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def of_cell(text: str) -> str:
    return f"<td{' class=not-done' if text in NOT_DONE else ''}>{escape(text)}</td>"


def of_picture(picture: Picture) -> str:
    """The drawing as data: names inside one cannot clash with those of another."""
    title, drawing = escape(picture.title), b64encode(picture.svg.encode()).decode()
    return (
        f'<h2>{title}</h2>\n<figure><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{drawing}"></figure>'
    )
