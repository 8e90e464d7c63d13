// Masks as PNG files and back, byte for byte ours: a canvas may change values (colour profiles, protection against fingerprinting).
// Source: PNG specification (W3C, third edition).

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10);
const GREY = 0;
const INDEXED = 3;

/** A mask as a PNG of 8 bits: 0 is background, 255 electrode. */
export async function encodeMask({ rows, columns, data }) {
  const lines = new Uint8Array(rows * (columns + 1));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      lines[row * (columns + 1) + 1 + column] = data[row * columns + column] ? 255 : 0;
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, columns);
  view.setUint32(4, rows);
  header.set([8, GREY], 8);
  const body = await through(lines, new CompressionStream("deflate"));
  return joined([SIGNATURE, chunk("IHDR", header), chunk("IDAT", body), chunk("IEND", new Uint8Array())]);
}

/** The mask in a grey or indexed PNG of 1 to 8 bits that isn't interlaced: every value but 0 is electrode. */
export async function decodeMask(bytes) {
  const chunks = [...chunksOf(bytes)];
  const header = chunks.find((one) => one.type === "IHDR")?.body;
  if (!header) throw new Error("not a PNG");
  const [columns, rows] = [header.getUint32(0), header.getUint32(4)];
  const [depth, colour, interlaced] = [header.getUint8(8), header.getUint8(9), header.getUint8(12)];
  if (depth > 8 || interlaced || ![GREY, INDEXED].includes(colour)) throw new Error("a kind of PNG that no mask has");
  const packed = joined(chunks.filter((one) => one.type === "IDAT").map(({ body }) => asBytes(body)));
  const lines = await through(packed, new DecompressionStream("deflate"));
  const stride = Math.ceil((columns * depth) / 8);
  if (lines.length < rows * (stride + 1)) throw new Error("the PNG ends too early");
  const raw = unfiltered(lines, rows, stride);
  const data = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const bit = column * depth;
      const value = (raw[row * stride + (bit >> 3)] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
      data[row * columns + column] = value === 0 ? 0 : 1;
    }
  }
  return { rows, columns, data };
}

/** Undoes the filters of the lines. A pixel takes one byte at most, so the one to the left is a byte away. */
function unfiltered(lines, rows, stride) {
  const raw = new Uint8Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    const filter = lines[row * (stride + 1)];
    for (let i = 0; i < stride; i++) {
      const at = row * stride + i;
      const left = i > 0 ? raw[at - 1] : 0;
      const up = row > 0 ? raw[at - stride] : 0;
      const corner = i > 0 && row > 0 ? raw[at - stride - 1] : 0;
      raw[at] = lines[row * (stride + 1) + 1 + i] + guess(filter, left, up, corner);
    }
  }
  return raw;
}

function guess(filter, left, up, corner) {
  switch (filter) {
    case 0: return 0;
    case 1: return left;
    case 2: return up;
    case 3: return (left + up) >> 1;
    case 4: return paeth(left, up, corner);
    default: throw new Error("not a PNG filter");
  }
}

function paeth(left, up, corner) {
  const estimate = left + up - corner;
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(estimate - value));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function* chunksOf(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new Error("not a PNG");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) throw new Error("the PNG ends too early");
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    yield { type, body: new DataView(bytes.buffer, bytes.byteOffset + at + 8, length) };
    at += 12 + length;
  }
}

function chunk(type, body) {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set([...type].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 (ISO 3309), as PNG and ZIP have it; goes on from that of the bytes before. */
export function crc32(bytes, before = 0) {
  let value = ~before;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

async function through(bytes, transform) {
  const stream = new Blob([bytes]).stream().pipeThrough(transform);
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const asBytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function joined(parts) {
  const all = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}
