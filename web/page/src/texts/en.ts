/** The page in English. Other languages have the same entries; `index.ts` names them. */

const list = (names: string[], last: string): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;

export const en = {
  name: "English",
  title: "Segmentation by words",
  skip: "Skip to the picture",
  header: { theme: "Light or dark", language: "Language", model: "Model" },
  states: { ready: "ready", warming: "warming up", no_worker: "starting", away: "away" },
  start: {
    title: "Give a picture, name what is in it",
    text: "Every pixel gets one of your labels. Drop pictures anywhere on this page, paste one, or choose:",
    choose: "Choose pictures",
    photograph: "Photograph",
    gallery: "Or begin with one of these",
    drop: "Drop to segment",
    open: (title: string) => `Open ${title}`,
  },
  camera: { title: "Camera", take: "Take the picture", close: "Close", refused: "The camera is not available." },
  strip: {
    title: "Pictures",
    add: "Add pictures",
    close: (name: string) => `Close ${name}`,
    status: { idle: "waiting", working: "working", failed: "failed", done: "done" },
  },
  viewer: {
    role: "picture with mask",
    label: (name: string) => `${name} with its mask`,
    keys:
      "Arrow keys move a cursor that names the label under it, with Shift by single pixels. Enter shows that label alone, " +
      "Escape shows all. Plus, minus and zero zoom, H hides the mask.",
    zoom: "Zoom",
    smaller: "Smaller",
    larger: "Larger",
    fit: "Fit the whole picture",
    swipe: "Where the two halves meet",
    view: "View",
    views: { overlay: "Overlay", outlines: "Outlines", swipe: "Swipe", split: "Side by side" },
    opacity: "Mask opacity",
  },
  labels: {
    title: "Labels",
    list: "Labels of this request",
    field: "New label",
    first: "sky, grass, car | automobile …",
    more: "add a label",
    offers: "Known labels",
    presets: "Lists of labels",
    clear: "Clear",
    remove: (label: string) => `Remove ${label}`,
    removed: (label: string) => `${label} removed`,
    otherWhy: "A label for everything that no other label fits",
    preset: { picture: "This picture", model: "The model's", ade20k: "ADE20K", pascal: "Pascal VOC", coco: "COCO" },
    none: "Name at least one label, and the mask comes by itself.",
  },
  options: {
    title: "Options",
    model: "Model",
    mode: "Mode",
    modes: { fast: "Fast", accurate: "Accurate" },
    modeWhy: { fast: "One pass over the whole picture", accurate: "Many passes at several scales, far slower" },
    threshold: "Threshold",
    off: "off",
    template: "Sentence",
    templateHint: "a photo of a {}",
    templateWhy: "The sentence that each word stands in, at the place of {}. Empty: the word as it is.",
    templateWrong: "The sentence needs {} once, where the word goes. Until then words are used as they are.",
    compare: "Compare with",
    nothing: "nothing",
    agreement: (share: string) => `The two masks agree on ${share} of the pixels.`,
  },
  legend: {
    title: "Legend",
    shown: "Shown",
    label: "Label",
    share: "Share",
    score: "Score",
    unlabelled: "unlabelled",
    showAll: "Show all",
    show: (name: string) => `Show ${name} in the mask`,
    isolate: (name: string) => `Show ${name} alone`,
    words: (found: string[], more: number, absent: string[], absentCount: number, unlabelled: string): string => {
      const parts = [found.length ? `The mask: ${list(found, "and")}` : "The mask has no label"];
      if (more > 0) parts.push(`, ${more} more`);
      parts.push(".");
      if (absentCount > 0) {
        const rest = absentCount - absent.length;
        parts.push(` Not found: ${absent.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}.`);
      }
      if (!unlabelled.startsWith("0")) parts.push(` Unlabelled: ${unlabelled}.`);
      return parts.join("");
    },
  },
  timings: {
    title: "Time",
    stages: {
      decode: "Decode",
      text: "Labels",
      network: "Network",
      mask: "Mask",
      rest: "Transfer and page",
    } as Record<string, string>,
    features: "picture known, its features were reused",
    texts: "labels known",
  },
  downloads: {
    title: "Take along",
    formats: { png: "Mask", overlay: "Overlay", json: "JSON", zip: "Zip" },
    all: (count: number) => `All ${count} masks`,
    link: "Link",
    copied: (what: string) => `${what} copied`,
    saved: (name: string) => `${name} saved`,
  },
  progress: {
    working: "Segmenting",
    left: (seconds: number) => `About ${seconds} s left, an estimate from the last answers`,
    since: (seconds: number) => `Working for ${seconds} s`,
    cancel: "Cancel",
    again: (seconds: number) => (seconds > 0 ? `Next attempt in ${seconds} s` : "Trying again …"),
    now: "Try again now",
    shrink: "Send a smaller copy",
  },
  faults: {
    page_unreachable: {
      title: "This page's server is away.",
      help: "It was stopped, or the network is down. Your picture and labels stay; the page goes on by itself.",
    },
    server_unreachable: {
      title: "The model's server is away.",
      help: "It is stopped or restarting. The page goes on by itself when it is back.",
    },
    warming: {
      title: "The model is warming up.",
      help: "It loads its weights and runs once. The page goes on by itself when it is ready.",
    },
    overloaded: {
      title: "The server is busy.",
      help: "Its queue is full. The page waits a moment and asks again by itself.",
    },
    worker_died: {
      title: "The worker had to be replaced.",
      help: "A new one is starting. The page asks again by itself.",
    },
    timed_out: {
      title: "The answer took too long.",
      help: "Fewer labels, fast mode or a smaller picture take less time.",
    },
    too_large: { title: "The file is too large for the server.", help: "A smaller copy of the picture will do." },
    image_too_large: { title: "The picture has too many pixels.", help: "A smaller copy of the picture will do." },
    request_too_costly: {
      title: "That would take the server too long.",
      help: "Use fast mode, fewer labels or a smaller copy of the picture.",
    },
    response_too_large: {
      title: "The answer is too large to send.",
      help: "Take the mask as PNG, or a smaller copy of the picture.",
    },
    unsupported_image: {
      title: "This file is not a picture that the server reads.",
      help: "JPEG, PNG, WebP, AVIF, HEIC, TIFF and many more are read.",
    },
    invalid_image: { title: "The picture is damaged.", help: "Open it in a picture program and save it again." },
    invalid_labels: { title: "The labels cannot be used as they are.", help: "Change the label that is named here." },
    invalid_option: { title: "An option is not accepted.", help: "Reload the page to have its options anew." },
    invalid_request: { title: "The server did not understand the request.", help: "Reload the page and try again." },
    out_of_memory: {
      title: "The device ran out of memory.",
      help: "A smaller copy of the picture or fewer labels need less.",
    },
    internal_error: {
      title: "Something went wrong on the server.",
      help: "Its log has the cause. Trying again may help.",
    },
  },
};

export type Texts = typeof en;
