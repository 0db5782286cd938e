/** Requests as commands that somebody can run: curl in a POSIX shell, and Python with httpx. */

/** @typedef {import("./shown.js").Shown} Shown */

/** A longer body goes into a file: it would bury the command, and a shell takes 128 KiB for one argument. */
const MOST_INLINE = 20_000;

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A JSON value as a Python literal. */
export function python(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => (/\p{L}|\p{N}|\p{P}|\p{S}|\p{Emoji}/u.test(unit) || /[\ud800-\udfff]/.test(unit) ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`));
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${python(name)}: ${python(one)}`).join(", ")}}`;
  return String(value);
}

/** About as many characters as a value has in JSON, without writing it. */
function size(value) {
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return 8;
  return Object.entries(value).reduce((sum, [name, one]) => sum + size(one) + (Array.isArray(value) ? 1 : name.length + 4), 2);
}

/** @param {Shown} shown @returns {boolean} whether its body is read from a file */
export const inFile = ({ body }) => size(body) > MOST_INLINE;

/** @param {Shown} shown */
export const bodyFile = ({ name }) => `attnloss-${name}-body.json`;

/** @param {Shown[]} requests @param {string} origin @param {boolean} keyed whether the server wants a key */
export function curlSnippet(requests, origin, keyed) {
  const key = keyed ? ' -H "Authorization: Bearer $ATTNLOSS_KEY"' : "";
  return requests
    .map((shown) => {
      const data = inFile(shown) ? `@${bodyFile(shown)}` : shellQuoted(JSON.stringify(shown.body));
      return `# ${shown.title}\ncurl -sS ${shellQuoted(`${origin}${shown.path}`)} -H 'Content-Type: application/json'${key} -d ${data}`;
    })
    .join("\n\n");
}

/** @param {Shown[]} requests @param {string} origin @param {boolean} keyed */
export function pythonSnippet(requests, origin, keyed) {
  const files = requests.some(inFile);
  const standard = [keyed && "import os", files && "from pathlib import Path"].filter(Boolean);
  const headers = [files && '"Content-Type": "application/json"', keyed && "\"Authorization\": f\"Bearer {os.environ['ATTNLOSS_KEY']}\""].filter(Boolean);
  const own = headers.length ? `, headers={${headers.join(", ")}}` : "";
  const lines = [...standard, ...(standard.length ? [""] : []), "import httpx", "", `client = httpx.Client(base_url=${python(origin)}, timeout=60${own})`];
  for (const shown of requests) {
    const body = inFile(shown) ? `content=Path(${python(bodyFile(shown))}).read_bytes()` : `json=${python(shown.body)}`;
    lines.push("", `# ${shown.title}`, `answer = client.post(${python(shown.path)}, ${body})`, "answer.raise_for_status()", "print(answer.json())");
  }
  return lines.join("\n");
}
