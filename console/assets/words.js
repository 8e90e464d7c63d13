// Numbers as people here read them.

/** A number with so many digits; what is none (a loss that left all bounds) is a dash. */
export const fixed = (number, digits) => (Number.isFinite(number) ? number.toFixed(digits) : "-");

/** How long ago a time (in seconds since 1970) is, as the server's pages say it. */
export function ago(time, now = Date.now() / 1000) {
  const seconds = Math.max(Math.floor(now - time), 0);
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h ago` : `${Math.floor(seconds / 86_400)} days ago`;
}

/** A length of time. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
