/** Requests as commands that somebody can run: curl in a POSIX shell, and Python with httpx. */

/** @typedef {{title: string, path: string, body: Record<string, any>}} Shown */

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

/** Longer than this, tensors are named and left to be filled in. */
const MOST_SHOWN = 20_000;

/** @param {any} value @returns {any} base64 of large arrays shortened, so that the snippet can be read */
function shortened(value) {
  if (Array.isArray(value)) return value.map(shortened);
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.base64 === "string" && value.base64.length > MOST_SHOWN) return { ...value, base64: `… ${value.base64.length} characters` };
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shortened(one)]));
}

/** @param {Shown[]} requests @param {string} origin @param {boolean} keyed whether the server wants a key */
export function curlSnippet(requests, origin, keyed) {
  const key = keyed ? ' -H "Authorization: Bearer $ATTNLOSS_KEY"' : "";
  return requests
    .map(({ title, path, body }) => {
      const data = shellQuoted(JSON.stringify(shortened(body)));
      return `# ${title}\ncurl -sS ${shellQuoted(`${origin}${path}`)} -H 'Content-Type: application/json'${key} -d ${data}`;
    })
    .join("\n\n");
}

/** @param {Shown[]} requests @param {string} origin @param {boolean} keyed */
export function pythonSnippet(requests, origin, keyed) {
  const lines = [keyed ? "import os\n\nimport httpx\n" : "import httpx\n"];
  const headers = keyed ? ', headers={"Authorization": f"Bearer {os.environ[\'ATTNLOSS_KEY\']}"}' : "";
  lines.push(`client = httpx.Client(base_url=${python(origin)}, timeout=60${headers})`);
  for (const { title, path, body } of requests) {
    lines.push("", `# ${title}`, `answer = client.post(${python(path)}, json=${python(shortened(body))})`, "answer.raise_for_status()", "print(answer.json())");
  }
  return lines.join("\n");
}
