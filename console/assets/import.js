// Masks that were drawn elsewhere come in: files become one zip, and what was not taken is listed with the reason.

import { call, path } from "./api.js";
import { byId, element } from "./dom.js";
import { zip } from "./zip.js";

const isZip = ({ name }) => /\.zip$/i.test(name);

/** The body for some chosen files: a single zip as it is. */
export const packed = (files) =>
  files.length === 1 && isZip(files[0]) ? files[0] : zip(files.map((file) => ({ path: file.webkitRelativePath || file.name, file })));

/** What came of an import, in a sentence. */
export function summary({ accepted, refused }) {
  const count = (number, what) => `${number.toLocaleString()} ${what}${number === 1 ? "" : "s"}`;
  if (accepted + refused === 0) return "There is no labelme file and no PNG among them.";
  return refused === 0 ? `${count(accepted, "mask")} imported.` : `${count(accepted, "mask")} imported, ${count(refused, "file")} not taken.`;
}

/** Lets the form of a run's page import. */
export function listen(run) {
  byId("import")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [said, button, table] = [byId("imported"), event.target.querySelector("button"), byId("not-imported")];
    const files = [...byId("annotations").files];
    said.classList.remove("error");
    table.hidden = true;
    if (!files.length) return (said.textContent = "Choose files first.");
    button.disabled = true;
    said.textContent = "Importing…";
    try {
      const body = await packed(files);
      const to = path("runs", run, "annotations") + (byId("import-force").checked ? "?force=true" : "");
      const answer = await (await call(to, { method: "POST", body, type: "application/zip", patience: Infinity })).json();
      said.textContent = summary(answer);
      const refused = answer.files.filter((file) => file.refused);
      table.hidden = refused.length === 0;
      table.tBodies[0].replaceChildren(...refused.map(({ file, refused: why }) =>
        element("tr", {}, element("th", { scope: "row" }, file), element("td", {}, why))));
    } catch (error) {
      said.textContent = error.message;
      said.classList.add("error");
    }
    button.disabled = false;
  });
}
