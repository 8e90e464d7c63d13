// The values of a slice as the server sends them: rows x columns of i16 or f32, little-endian.

/** Values and what the headers say of them. */
export function parse(buffer, header) {
  const [rows, columns] = [Number(header("X-Rows")), Number(header("X-Columns"))];
  const type = header("X-Type");
  const values = { i16: littleEndian16, f32: littleEndian32 }[type]?.(buffer);
  if (!values || values.length !== rows * columns) {
    throw new Error(`the server sent ${buffer.byteLength} bytes for ${rows} x ${columns} values of type ${type}`);
  }
  const number = (name) => Number(header(name));
  return {
    rows, columns, values,
    minimum: number("X-Minimum"), maximum: number("X-Maximum"),
    inverted: header("X-Inverted") === "true",
  };
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function littleEndian16(buffer) {
  if (IS_LITTLE_ENDIAN) return new Int16Array(buffer);
  const view = new DataView(buffer);
  return Int16Array.from({ length: buffer.byteLength / 2 }, (_, i) => view.getInt16(2 * i, true));
}

function littleEndian32(buffer) {
  if (IS_LITTLE_ENDIAN) return new Float32Array(buffer);
  const view = new DataView(buffer);
  return Float32Array.from({ length: buffer.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
