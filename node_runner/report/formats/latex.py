"""LaTeX tables and figures for a paper that loads booktabs and graphicx."""

from __future__ import annotations

from ..document import Report, Section, Table

ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def render(report: Report) -> str:
    """Render a report."""
    parts = ["% \\usepackage{booktabs,graphicx}", *map(_section, report.sections)]
    for picture in report.pictures:
        parts.append(
            "\\begin{figure}\n\\centering\n"
            f"\\includegraphics[width=\\linewidth]{{{picture.name}.pdf}}\n"
            f"\\caption{{{_escape(picture.title)}}}\n\\end{{figure}}"
        )
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    caption = _escape(" ".join([f"{section.title}.", *section.before]))
    tables = "\n\n\\medskip\n".join(map(_tabular, section.tables))
    after = "\n\n".join(f"\\footnotesize {_escape(text)}" for text in section.after)
    body = f"\\centering\n\\caption{{{caption}}}\n{tables}\n\n{after}"
    return f"\\begin{{table}}\n{body}\n\\end{{table}}"


def _tabular(table: Table) -> str:
    """Render a table scaled to the width of the text."""
    lines = [" & ".join(map(_escape, row)) + r" \\" for row in (table.header, *table.rows)]
    body = "\n".join(["\\toprule", lines[0], "\\midrule", *lines[1:], "\\bottomrule"])
    columns = "l" * len(table.header)
    return (
        "\\resizebox{\\linewidth}{!}{%\n"
        f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}}}"
    )


def _escape(text: str) -> str:
    """Escape the characters that are special in LaTeX."""
    return "".join(ESCAPED.get(sign, sign) for sign in text)
