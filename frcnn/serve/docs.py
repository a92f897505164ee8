"""The HTTP interface as a page of plain HTML, made of its OpenAPI description.

FastAPI's own page loads its program from elsewhere on the network, and runs a script in the page;
this one needs neither.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: HTTP interface</title>
<link rel="icon" href="/page/icon.svg">
<link rel="stylesheet" href="/page/style.css">
<body class="docs">
<header><h1>{title}: HTTP interface</h1>
<p><a href="/">Page</a> · <a href="/openapi.json">OpenAPI description</a></p></header>
<main>
<p class="lead">{description}</p>
<pre tabindex="0">curl -F file=@image.png '{address}v1/detect?min_score=0.5'
curl --data-binary @image.tif -H 'Content-Type: image/tiff' '{address}v1/detect?name=a.tif'</pre>
{operations}
<section><h2>JSON</h2>
{schemas}</section>
</main>
"""


def docs_page(description: Mapping[str, Any], address: str) -> str:
    """The page of an OpenAPI description.

    Args:
        description: as FastAPI makes it.
        address: of the server, with a slash at its end, for examples.
    """
    info = description["info"]
    operations = [_operation(method, path, operation)
                  for path, methods in description["paths"].items()
                  for method, operation in methods.items()]
    schemas = [_schema(name, schema)
               for name, schema in sorted(description["components"]["schemas"].items())]
    return _PAGE.format(title=escape(info["title"]), description=escape(info["description"]),
                        address=escape(address),
                        operations="\n".join(operations), schemas="\n".join(schemas))


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>",
             *(f"<p>{escape(text)}</p>" for text in _paragraphs(operation.get("description", "")))]
    if operation.get("parameters"):
        parts.append(_table("Query", [
            (item["name"], _type(item["schema"]), item.get("description", ""))
            for item in operation["parameters"]]))
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        parts.append(_table("Body", [(kind, _type(media.get("schema", {})),
                                      media.get("schema", {}).get("description", ""))
                                     for kind, media in content.items()]))
    parts.append(_table("Answers", [
        (status, ", ".join(_type(media.get("schema", {})) or escape(kind)
                           for kind, media in answer.get("content", {}).items()),
         answer["description"]) for status, answer in sorted(operation["responses"].items())]))
    return "\n".join([*parts, "</section>"])


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.split("\n\n"):
        yield " ".join(part.split())


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = [(key, _type(value), value.get("description", ""))
            for key, value in schema.get("properties", {}).items()]
    return (f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>'
            f"<p>{escape(' '.join(schema.get('description', '').split()))}</p>{_table('', rows)}")


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    """A table of names, types (which are HTML) and texts."""
    cells = "\n".join(f"<tr><th scope=\"row\"><code>{escape(name)}</code></th><td>{kind}</td>"
                      f"<td>{escape(text)}</td></tr>" for name, kind, text in rows)
    head = f"<h3>{escape(title)}</h3>" if title else ""
    return f'{head}<div class="scroll" tabindex="0"><table>{cells}</table></div>'


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in one expression, as HTML; objects of their own are links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    default = f" = {json.dumps(schema['default'])}" if schema.get("default") is not None else ""
    return escape(f"{schema.get('format', kind)}{default}")
