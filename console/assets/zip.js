// A zip of many files, without compression (DICOM hardly shrinks) and without holding them in memory: the result is a Blob that
// refers to the files. Source: APPNOTE 6.3.10; sizes beyond 4 GiB and more than 65,535 files by its ZIP64 records.

import { crc32 } from "./png.js";

const UTF8 = 0x0800;
const BIG = 0xffffffff;

/** Zips {path, file} in their order; `progress` hears which part (0 to 1) of the bytes has been read; `signal` calls it off. */
export async function zip(files, progress = () => {}, signal = null) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
  const [parts, directory] = [[], []];
  let [offset, read] = [0, 0];
  for (const { path, file } of files) {
    signal?.throwIfAborted();
    const check = await checksum(file, (bytes) => progress((read += bytes) / total));
    const entry = { name: new TextEncoder().encode(path), size: file.size, check, offset };
    const header = local(entry);
    parts.push(header, file);
    directory.push(central(entry));
    offset += header.length + file.size;
  }
  const size = directory.reduce((sum, record) => sum + record.length, 0);
  return new Blob([...parts, ...directory, end(files.length, size, offset)], { type: "application/zip" });
}

async function checksum(file, progress) {
  let check = 0;
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return check;
    check = crc32(value, check);
    progress(value.length);
  }
}

/** Bytes from [value, width in bytes] and byte arrays, little-endian. */
function record(...fields) {
  const bytes = [];
  for (const field of fields) {
    if (field instanceof Uint8Array) bytes.push(...field);
    else for (let i = 0; i < field[1]; i++) bytes.push(Math.floor(field[0] / 256 ** i) % 256);
  }
  return Uint8Array.from(bytes);
}

/** Sizes that don't fit into 32 bits stand in a ZIP64 field. */
const wide = (...values) => (values.length ? record([1, 2], [8 * values.length, 2], ...values.map((value) => [value, 8])) : new Uint8Array());
const narrow = (value) => [Math.min(value, BIG), 4];
const isBig = (value) => value >= BIG;

function local({ name, size, check }) {
  const extra = isBig(size) ? wide(size, size) : wide();
  return record([0x04034b50, 4], [45, 2], [UTF8, 2], [0, 2], [0, 2], [0x21, 2], [check, 4],
    narrow(size), narrow(size), [name.length, 2], [extra.length, 2], name, extra);
}

function central({ name, size, check, offset }) {
  const extra = wide(...(isBig(size) ? [size, size] : []), ...(isBig(offset) ? [offset] : []));
  return record([0x02014b50, 4], [45, 2], [45, 2], [UTF8, 2], [0, 2], [0, 2], [0x21, 2], [check, 4],
    narrow(size), narrow(size), [name.length, 2], [extra.length, 2], [0, 2], [0, 2], [0, 2], [0, 4], narrow(offset), name, extra);
}

function end(count, size, offset) {
  const short = record([0x06054b50, 4], [0, 2], [0, 2], [Math.min(count, 0xffff), 2], [Math.min(count, 0xffff), 2], narrow(size), narrow(offset), [0, 2]);
  if (count < 0xffff && !isBig(size) && !isBig(offset)) return short;
  return record([0x06064b50, 4], [44, 8], [45, 2], [45, 2], [0, 4], [0, 4], [count, 8], [count, 8], [size, 8], [offset, 8],
    [0x07064b50, 4], [0, 4], [offset + size, 8], [1, 4], short);
}
