/** What the page remembers in this browser. Where a browser keeps nothing, nothing is remembered. */

/** The text kept under `name`, or null. */
export function recall(name: string): string | null {
  try {
    return localStorage.getItem(`lseg.${name}`);
  } catch {
    return null;
  }
}

/** Keep `text` under `name`. */
export function remember(name: string, text: string): void {
  try {
    localStorage.setItem(`lseg.${name}`, text);
  } catch {
    // Storage is full, or closed to this page.
  }
}
