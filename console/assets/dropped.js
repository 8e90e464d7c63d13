// What somebody drops on a page: files, or folders with all below them.

/** All files below what was dropped, as {path, file}; `progress` hears how many were found. */
export async function below(entries, progress = () => {}) {
  const found = [];
  // Not by calls within calls: a delivery may have tens of thousands of files.
  const open = [...entries].reverse();
  while (open.length) {
    const entry = open.pop();
    if (entry.isDirectory) for (const child of (await children(entry)).reverse()) open.push(child);
    else found.push({ path: entry.fullPath.slice(1), file: await new Promise((done, failed) => entry.file(done, failed)) });
    if (found.length % 500 === 0) progress(found.length);
  }
  return found;
}

/** A folder's entries; the browser gives them in parts, the last of which is empty. */
async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const part = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (part.length === 0) return all;
    all.push(...part);
  }
}
