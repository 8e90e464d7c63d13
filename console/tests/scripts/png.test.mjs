import assert from "node:assert/strict";
import test from "node:test";
import { deflateSync } from "node:zlib";
import { crc32, decodeMask, encodeMask } from "../../assets/png.js";
import { blank, draws, mask, picture } from "./masks.mjs";

const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/** A PNG with the given header and raw lines (filter bytes included), as other programs write it. */
function foreign({ rows, columns, depth, colour, interlaced = 0 }, lines) {
  const chunk = (type, body) => {
    const data = Buffer.concat([ascii(type), body]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(body.length);
    check.writeUInt32BE(crc32(data));
    return Buffer.concat([length, data, check]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(columns, 0);
  header.writeUInt32BE(rows, 4);
  header.set([depth, colour, 0, 0, interlaced], 8);
  const body = deflateSync(Buffer.from(lines));
  const half = body.length >> 1;
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), chunk("IHDR", header), chunk("tEXt", ascii("a\0b")),
    chunk("IDAT", body.subarray(0, half)), chunk("IDAT", body.subarray(half)), chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("a mask comes back as it was, whatever its size", async () => {
  const draw = draws();
  for (const [rows, columns] of [[1, 1], [3, 8], [7, 9], [200, 333]]) {
    const page = blank(rows, columns);
    page.data.forEach((_, i) => (page.data[i] = draw() < 0.3 ? 1 : 0));
    assert.deepEqual(await decodeMask(await encodeMask(page)), page);
  }
});

test("the checksum is the one that the standard gives", () => {
  assert.equal(crc32(ascii("123456789")), 0xcbf43926);
  assert.equal(crc32(ascii("456789"), crc32(ascii("123"))), 0xcbf43926);
});

test("an indexed mask of one bit is read, lines of several chunks and all", async () => {
  const bytes = foreign({ rows: 2, columns: 10, depth: 1, colour: 3 }, [0, 0b10000001, 0b01000000, 0, 0b01111110, 0]);
  assert.deepEqual(picture(await decodeMask(bytes)), ["#......#.#", ".######..."]);
});

test("every filter of the standard is undone", async () => {
  // Lines of 0 0 9 0, each under another filter.
  const lines = [[0, 0, 0, 9, 0], [1, 0, 0, 9, 247], [2, 0, 0, 0, 0], [3, 0, 0, 5, 252], [4, 0, 0, 0, 0]].flat();
  const read = await decodeMask(foreign({ rows: 5, columns: 4, depth: 8, colour: 0 }, lines));
  assert.deepEqual(picture(read), ["..#.", "..#.", "..#.", "..#.", "..#."]);
});

test("what is no mask is refused with a reason", async () => {
  await assert.rejects(decodeMask(ascii("hello, world")), /not a PNG/);
  await assert.rejects(decodeMask(foreign({ rows: 1, columns: 1, depth: 8, colour: 2 }, [0, 1, 2, 3])), /no mask/);
  await assert.rejects(decodeMask(foreign({ rows: 1, columns: 1, depth: 8, colour: 0, interlaced: 1 }, [0, 1])), /no mask/);
  await assert.rejects(decodeMask(foreign({ rows: 9, columns: 9, depth: 8, colour: 0 }, [0, 1])), /too early/);
  await assert.rejects(decodeMask(foreign({ rows: 1, columns: 1, depth: 8, colour: 0 }, [7, 1])), /filter/);
  const whole = await encodeMask(mask("#.#"));
  await assert.rejects(decodeMask(whole.subarray(0, whole.length - 14)), /too early/);
});
