"""One page of HTML with styles and figures in it; it links to the folders of the runs."""

from __future__ import annotations

import os
from base64 import b64encode
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..document import Picture, Report, RunFolder, Section, Table

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
nav, details {{ font-size: 0.92em; }}
</style>
</head>
<body>
<h1>node_runner: published and own figures</h1>
<nav>
<ul>
{contents}
</ul>
</nav>
{body}
</body>
</html>
"""
NOT_DONE = ("missing", "diverged", "failed", "stopped", "unfinished")


def render(report: Report) -> str:
    """Render a report, a table of contents first."""
    titles = [part.title for part in (*report.sections, *report.pictures)]
    entries = [f'<li><a href="#s{i}">{escape(title)}</a></li>' for i, title in enumerate(titles)]
    parts = [_section(section, report.folder) for section in report.sections]
    parts += map(_picture, report.pictures)
    body = [f'<h2 id="s{i}">{escape(titles[i])}</h2>\n{part}' for i, part in enumerate(parts)]
    return PAGE.format(contents="\n".join(entries), body="\n".join(body))


def _section(section: Section, folder: Path) -> str:
    parts = [f"<p>{escape(text)}</p>" for text in section.before]
    parts += map(_table, section.tables)
    parts += [f'<p class="after">{escape(text)}</p>' for text in section.after]
    if section.runs:
        runs = "\n".join(_run(run, folder) for run in section.runs)
        summary = f"<summary>Folders and pictures of {len(section.runs)} runs</summary>"
        parts.append(f"<details>{summary}\n<ul>\n{runs}\n</ul>\n</details>")
    return "\n".join(parts)


def _run(run: RunFolder, folder: Path) -> str:
    """Link a run's folder and its pictures."""
    links = [_link(run.folder, str(run.folder), folder)]
    links += [_link(picture, picture.name, folder) for picture in run.pictures]
    return f"<li>{escape(run.label)}: {', '.join(links)}</li>"


def _link(path: Path, text: str, folder: Path) -> str:
    """Link a path relative to the folder of the page."""
    target = quote(Path(os.path.relpath(path, folder)).as_posix())
    return f'<a href="{target}">{escape(text)}</a>'


def _table(table: Table) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{header}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _cell(text: str) -> str:
    return f"<td{' class=not-done' if text in NOT_DONE else ''}>{escape(text)}</td>"


def _picture(picture: Picture) -> str:
    """Embed a drawing as data: names inside one cannot clash with those of another."""
    title, drawing = escape(picture.title), b64encode(picture.svg.encode()).decode()
    return f'<figure><img alt="{title}" src="data:image/svg+xml;base64,{drawing}"></figure>'
