// What goes on elsewhere, as the server tells it (server-sent events). Every message says all, so that a connection that was
// interrupted has nothing to make up for.

/** After a connection that the browser has given up, since something else answered: a proxy whose server starts again. */
const AGAIN_MS = 5_000;

/**
 * Calls `progress(data)` whenever something has changed and `done(data)` once at the end; `lost(isLost)` says whether nothing comes
 * at the moment. A page that nobody looks at doesn't listen: browsers keep six connections to a server, for all pages together.
 * Gives a function that ends it.
 */
export function watch(at, { progress, done, lost, Source = EventSource, page = document }) {
  let [source, timer] = [null, null];
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const look = () => {
    close();
    if (page.hidden) return;
    const mine = new Source(`/api/v1/${at}/events`);
    source = mine;
    mine.addEventListener("open", () => lost(false));
    mine.addEventListener("error", () => {
      if (mine !== source) return;
      // The server ends each connection after some minutes: only one that can't be had again is lost.
      if (mine.readyState !== mine.CLOSED) return;
      lost(true);
      timer = setTimeout(look, AGAIN_MS);
    });
    mine.addEventListener("progress", ({ data }) => mine === source && progress(JSON.parse(data)));
    mine.addEventListener("done", ({ data }) => {
      if (mine !== source) return;
      end();
      done(JSON.parse(data));
    });
  };
  const end = () => {
    page.removeEventListener("visibilitychange", look);
    close();
  };
  page.addEventListener("visibilitychange", look);
  look();
  return end;
}
