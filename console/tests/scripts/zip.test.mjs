import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { zip } from "../../assets/zip.js";

/** What Python's zipfile finds in a zip: names and contents. */
async function unpacked(blob) {
  const folder = mkdtempSync(join(tmpdir(), "zip-"));
  const file = join(folder, "a.zip");
  writeFileSync(file, Buffer.from(await blob.arrayBuffer()));
  const script = "import sys, json, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n"
    + "n = z.namelist()\nprint(json.dumps([len(n), {k: z.read(k).decode() for k in n[:3] + n[-1:]}]))";
  const found = JSON.parse(execFileSync("python3", ["-c", script, file]));
  rmSync(folder, { recursive: true });
  return found;
}

test("another program unpacks the zip, names with accents and empty files included", async () => {
  const files = [["a/b/scan", "hello"], ["a/empty", ""], ["Ärzte/x.dcm", "1"]]
    .map(([path, text]) => ({ path, file: new Blob([text]) }));
  const heard = [];
  const [count, contents] = await unpacked(await zip(files, (part) => heard.push(part)));
  assert.equal(count, 3);
  assert.deepEqual(contents, { "a/b/scan": "hello", "a/empty": "", "Ärzte/x.dcm": "1" });
  assert.equal(heard.at(-1), 1);
});

test("a folder of 66,000 files is one zip", async () => {
  const file = new Blob(["x"]);
  const [count, contents] = await unpacked(await zip(Array.from({ length: 66_000 }, (_, i) => ({ path: `d/${i}`, file }))));
  assert.equal(count, 66_000);
  assert.equal(contents["d/65999"], "x");
});
