"""LaTeX: tables to be read in by a paper that loads booktabs and graphicx."""

from __future__ import annotations

from ..document import Report, Section, Table

MARKS = {
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
    parts = ["% \\usepackage{booktabs,graphicx}", *map(of_section, report.sections)]
    for picture in report.pictures:
        parts.append(
            "\\begin{figure}\n\\centering\n"
            f"\\includegraphics[width=\\linewidth]{{{picture.name}.png}}\n"
            f"\\caption{{{escape(picture.title)}}}\n\\end{{figure}}"
        )
    return "\n\n".join(parts) + "\n"


def of_section(section: Section) -> str:
    caption = escape(" ".join([f"{section.title}.", *section.before]))
    tables = "\n\n\\medskip\n".join(map(tabular, section.tables))
    after = "\n\n".join(f"\\footnotesize {escape(text)}" for text in section.after)
    body = f"\\centering\n\\caption{{{caption}}}\n{tables}\n\n{after}"
    return f"\\begin{{table}}\n{body}\n\\end{{table}}"


def tabular(table: Table) -> str:
    """As wide as the text, whatever it holds."""
    lines = [" & ".join(map(escape, row)) + r" \\" for row in (table.header, *table.rows)]
    body = "\n".join(["\\toprule", lines[0], "\\midrule", *lines[1:], "\\bottomrule"])
    columns = "l" * len(table.header)
    return (
        "\\resizebox{\\linewidth}{!}{%\n"
        f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}}}"
    )


def escape(text: str) -> str:
    """Signs that mean something to LaTeX as themselves."""
    return "".join(MARKS.get(sign, sign) for sign in text)
