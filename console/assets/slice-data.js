// All that the page needs of a slice, fetched at once so that it can be fetched ahead.

import { call, json, path, query } from "./api.js";
import { parse } from "./pixels.js";
import { decodeMask } from "./png.js";

export const keyOf = ({ patient, slice }) => path(patient, slice);

/**
 * A slice: its details, values, revisions, the model's proposal (or null) and the mask to begin with. `origin` says where that
 * comes from: "revision", "proposal" or "blank".
 */
export async function load({ patient, slice, run }) {
  const at = path("slices", patient, slice);
  const [details, pixels, revisions] = await Promise.all([
    json(at + query({ run })), values(`${at}/pixels`), json(`${at}/revisions`),
  ]);
  const model = details.model ?? null;
  const newest = revisions.at(-1) ?? null;
  const [drawn, proposal] = await Promise.all([
    newest?.mask ? mask(`${at}/revisions/${newest.revision}/mask.png`, pixels) : null,
    model ? mask(`${at}/mask.png${query({ model })}`, pixels) : null,
  ]);
  const origin = newest ? "revision" : proposal ? "proposal" : "blank";
  const first = (newest ? drawn : proposal)?.data ?? new Uint8Array(pixels.values.length);
  return {
    patient, slice, details, model, revisions, newest, proposal, origin, ...pixels, bright: brightness(pixels),
    spacing: details.spacing_mm ?? null,
    mask: { rows: pixels.rows, columns: pixels.columns, data: first.slice() },
    windows: [{ name: "stored", ...details.window }, ...details.window.presets],
  };
}

async function values(at) {
  const response = await call(at);
  return parse(await response.arrayBuffer(), (name) => response.headers.get(name));
}

/** A mask of the server; null where there is none. */
export async function mask(at, { rows, columns }) {
  let response;
  try {
    response = await call(at);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
  const read = await decodeMask(new Uint8Array(await response.arrayBuffer()));
  if (read.rows !== rows || read.columns !== columns) {
    throw new Error(`the mask has ${read.rows} x ${read.columns} pixels, the slice ${rows} x ${columns}`);
  }
  return read;
}

/** The values with the bright ones high, for whatever asks for a level: of a MONOCHROME1 slice the lowest value is white. */
export function brightness({ values, minimum, maximum, inverted }) {
  return inverted ? values.map((value) => minimum + maximum - value) : values;
}

/** The level above which 0.5 % of the values lie: about as many as an array has. */
export function firstLevel(values) {
  const step = Math.max(Math.floor(values.length / 20_000), 1);
  const sample = values.filter((value, i) => i % step === 0 && Number.isFinite(value)).sort();
  return Math.round(sample[Math.floor(sample.length * 0.995)] ?? 0);
}
