/** Die Seite auf Deutsch. */

import type { Texts } from "./en";

const list = (names: string[], last: string): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;

export const de: Texts = {
  name: "Deutsch",
  title: "Segmentieren mit Wörtern",
  skip: "Zum Bild springen",
  header: { theme: "Hell oder dunkel", language: "Sprache", model: "Modell" },
  states: { ready: "bereit", warming: "wärmt auf", no_worker: "startet", away: "nicht erreichbar" },
  start: {
    title: "Ein Bild, und Wörter für das, was darauf ist",
    text: "Jedes Pixel bekommt eines Ihrer Label. Bilder irgendwo auf diese Seite ziehen, eines einfügen oder auswählen:",
    choose: "Bilder auswählen",
    photograph: "Fotografieren",
    gallery: "Oder mit einem von diesen beginnen",
    drop: "Loslassen zum Segmentieren",
    open: (title) => `${title} öffnen`,
  },
  camera: { title: "Kamera", take: "Aufnehmen", close: "Schließen", refused: "Die Kamera ist nicht verfügbar." },
  strip: {
    title: "Bilder",
    add: "Bilder hinzufügen",
    close: (name) => `${name} schließen`,
    status: { idle: "wartet", working: "in Arbeit", failed: "fehlgeschlagen", done: "fertig" },
  },
  viewer: {
    role: "Bild mit Maske",
    label: (name) => `${name} mit Maske`,
    keys:
      "Pfeiltasten bewegen einen Cursor, der das Label unter sich nennt, mit Umschalt um einzelne Pixel. Eingabe zeigt " +
      "dieses Label allein, Escape zeigt alle. Plus, Minus und Null zoomen, H blendet die Maske aus.",
    zoom: "Zoom",
    smaller: "Kleiner",
    larger: "Größer",
    fit: "Das ganze Bild zeigen",
    swipe: "Grenze der beiden Hälften",
    view: "Ansicht",
    views: { overlay: "Überlagert", outlines: "Umrisse", swipe: "Wischen", split: "Nebeneinander" },
    opacity: "Deckkraft der Maske",
  },
  labels: {
    title: "Label",
    list: "Label dieser Anfrage",
    field: "Neues Label",
    first: "sky, grass, car | automobile …",
    more: "Label hinzufügen",
    offers: "Bekannte Label",
    presets: "Listen von Labeln",
    clear: "Leeren",
    remove: (label) => `${label} entfernen`,
    removed: (label) => `${label} entfernt`,
    otherWhy: "Ein Label für alles, wozu kein anderes passt",
    preset: { picture: "Dieses Bild", model: "Modell", ade20k: "ADE20K", pascal: "Pascal VOC", coco: "COCO" },
    none: "Mindestens ein Label nennen, dann kommt die Maske von selbst.",
  },
  options: {
    title: "Optionen",
    model: "Modell",
    mode: "Modus",
    modes: { fast: "Schnell", accurate: "Genau" },
    modeWhy: {
      fast: "Ein Durchgang über das ganze Bild",
      accurate: "Viele Durchgänge in mehreren Größen, weit langsamer",
    },
    threshold: "Schwelle",
    off: "aus",
    template: "Satz",
    templateHint: "a photo of a {}",
    templateWhy: "Der Satz, in dem jedes Wort steht, an der Stelle von {}. Leer: das Wort, wie es ist.",
    templateWrong: "Im Satz fehlt {} für das Wort, oder es steht mehrmals da. Bis dahin gelten die Wörter, wie sie sind.",
    compare: "Vergleichen mit",
    nothing: "nichts",
    agreement: (share) => `Die beiden Masken stimmen in ${share} der Pixel überein.`,
  },
  legend: {
    title: "Legende",
    shown: "Sichtbar",
    label: "Label",
    share: "Anteil",
    score: "Wert",
    unlabelled: "ohne Label",
    showAll: "Alle zeigen",
    show: (name) => `${name} in der Maske zeigen`,
    isolate: (name) => `Nur ${name} zeigen`,
    words: (found, more, absent, absentCount, unlabelled) => {
      const parts = [found.length ? `Die Maske: ${list(found, "und")}` : "Die Maske hat kein Label"];
      if (more > 0) parts.push(`, ${more} weitere`);
      parts.push(".");
      if (absentCount > 0) {
        const rest = absentCount - absent.length;
        parts.push(` Nicht gefunden: ${absent.join(", ")}${rest > 0 ? ` und ${rest} weitere` : ""}.`);
      }
      if (!unlabelled.startsWith("0")) parts.push(` Ohne Label: ${unlabelled}.`);
      return parts.join("");
    },
  },
  timings: {
    title: "Zeit",
    stages: { decode: "Dekodieren", text: "Label", network: "Netz", mask: "Maske", rest: "Übertragung und Seite" },
    features: "Bild bekannt, seine Merkmale wurden wiederverwendet",
    texts: "Label bekannt",
  },
  downloads: {
    title: "Mitnehmen",
    formats: { png: "Maske", overlay: "Überlagert", json: "JSON", zip: "Zip" },
    all: (count) => `Alle ${count} Masken`,
    link: "Link",
    copied: (what) => `${what} kopiert`,
    saved: (name) => `${name} gespeichert`,
  },
  progress: {
    working: "Segmentiert",
    left: (seconds) => `Noch etwa ${seconds} s, geschätzt nach den letzten Antworten`,
    since: (seconds) => `Arbeitet seit ${seconds} s`,
    cancel: "Abbrechen",
    again: (seconds) => (seconds > 0 ? `Nächster Versuch in ${seconds} s` : "Neuer Versuch …"),
    now: "Jetzt versuchen",
    shrink: "Kleinere Kopie senden",
  },
  faults: {
    page_unreachable: {
      title: "Der Server dieser Seite antwortet nicht.",
      help: "Er wurde beendet, oder das Netz fehlt. Bild und Label bleiben; die Seite macht von selbst weiter.",
    },
    server_unreachable: {
      title: "Der Server des Modells antwortet nicht.",
      help: "Er ist beendet oder startet neu. Die Seite macht von selbst weiter, sobald er da ist.",
    },
    warming: {
      title: "Das Modell wärmt auf.",
      help: "Es lädt seine Gewichte. Die Seite macht von selbst weiter, sobald es bereit ist.",
    },
    overloaded: {
      title: "Der Server ist ausgelastet.",
      help: "Seine Warteschlange ist voll. Die Seite fragt gleich von selbst noch einmal.",
    },
    worker_died: {
      title: "Der Arbeitsprozess wird ersetzt.",
      help: "Ein neuer startet. Die Seite fragt von selbst noch einmal.",
    },
    timed_out: {
      title: "Die Antwort hat zu lange gedauert.",
      help: "Weniger Label, der schnelle Modus oder ein kleineres Bild brauchen weniger Zeit.",
    },
    too_large: { title: "Die Datei ist zu groß für den Server.", help: "Eine kleinere Kopie des Bildes genügt." },
    image_too_large: { title: "Das Bild hat zu viele Pixel.", help: "Eine kleinere Kopie des Bildes genügt." },
    request_too_costly: {
      title: "Das würde den Server zu lange beschäftigen.",
      help: "Der schnelle Modus, weniger Label oder eine kleinere Kopie des Bildes gehen.",
    },
    response_too_large: {
      title: "Die Antwort ist zu groß zum Senden.",
      help: "Die Maske als PNG nehmen, oder eine kleinere Kopie des Bildes.",
    },
    unsupported_image: {
      title: "Diese Datei ist kein Bild, das der Server liest.",
      help: "Gelesen werden JPEG, PNG, WebP, AVIF, HEIC, TIFF und viele andere.",
    },
    invalid_image: { title: "Das Bild ist beschädigt.", help: "In einem Bildprogramm öffnen und neu speichern." },
    invalid_labels: { title: "Die Label gehen so nicht.", help: "Das genannte Label ändern." },
    invalid_option: { title: "Eine Option wird nicht angenommen.", help: "Die Seite neu laden." },
    invalid_request: {
      title: "Der Server hat die Anfrage nicht verstanden.",
      help: "Die Seite neu laden und noch einmal versuchen.",
    },
    out_of_memory: {
      title: "Dem Gerät ging der Speicher aus.",
      help: "Eine kleinere Kopie des Bildes oder weniger Label brauchen weniger.",
    },
    internal_error: {
      title: "Auf dem Server ging etwas schief.",
      help: "Sein Protokoll nennt die Ursache. Ein neuer Versuch kann helfen.",
    },
  },
};
