/** The request on show as a command for curl and as a Python program. Both run as they are copied. */

import { inRequest } from "../labels/split";
import { fieldsOf, segmentPath } from "../segment/api";
import type { Picture, Question } from "../state";

/** A word for a POSIX shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** A string for Python; JSON's escapes are Python's, too. */
const literal = (text: string): string => JSON.stringify(text);

/** A file name within curl's `-F name=@"..."`. */
const fileWord = (name: string): string => quoted(`image=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);

/** A curl command that writes mask.png. A picture of the gallery is fetched first, others lie in the folder. */
export function curlSnippet(picture: Picture, question: Question): string {
  const lines: string[] = [];
  if (picture.gallery) {
    lines.push(`curl -s ${quoted(location.origin + picture.gallery.url)} -o ${quoted(picture.name)}`);
  }
  const parts = [`curl -s --fail-with-body -F ${fileWord(picture.name)}`];
  for (const [name, value] of fieldsOf(question, "png")) parts.push(`--form-string ${quoted(`${name}=${value}`)}`);
  parts.push(`${quoted(location.origin + segmentPath(question.model))} -o mask.png`);
  lines.push(parts.join(" \\\n    "));
  return `${lines.join("\n")}\n`;
}

/** A Python program that does the same and prints the legend; it needs `requests`. */
export function pythonSnippet(picture: Picture, question: Question): string {
  const fields = fieldsOf(question, "png").filter(([name]) => name !== "labels");
  const image = picture.gallery
    ? `requests.get(${literal(location.origin + picture.gallery.url)}, timeout=60).content`
    : `Path(${literal(picture.name)}).read_bytes()`;
  return `import json
from pathlib import Path
from urllib.parse import unquote

import requests

image = ${image}
labels = [${question.labels.map((label) => JSON.stringify(inRequest(label))).join(", ")}]
answer = requests.post(
    ${literal(location.origin + segmentPath(question.model))},
    files={"image": image},
    data={"labels": json.dumps(labels), ${fields.map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ")}},
    timeout=600,
)
answer.raise_for_status()
Path("mask.png").write_bytes(answer.content)
for entry in json.loads(unquote(answer.headers["X-LSeg-Legend"])):
    print(entry["index"], entry["color"], entry["name"])
`;
}
