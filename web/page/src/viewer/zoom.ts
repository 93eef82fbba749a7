/** Where a picture lies in its frame. Lengths are CSS pixels; `scale` is CSS pixels for each pixel of the picture. */

export interface Size {
  width: number;
  height: number;
}

export interface Place {
  scale: number;
  x: number;
  y: number;
}

const MOST = 40;

export const fitScale = (picture: Size, frame: Size): number =>
  Math.min(frame.width / picture.width, frame.height / picture.height);

/** The whole picture in the middle of the frame. */
export const fitted = (picture: Size, frame: Size): Place =>
  settled({ scale: fitScale(picture, frame), x: 0, y: 0 }, picture, frame);

/** The nearest place at which the picture fills the frame, or lies in its middle where it is smaller. */
export function settled(place: Place, picture: Size, frame: Size): Place {
  const along = (offset: number, length: number, room: number): number =>
    length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, offset));
  return {
    scale: place.scale,
    x: along(place.x, picture.width * place.scale, frame.width),
    y: along(place.y, picture.height * place.scale, frame.height),
  };
}

/** Zoomed by `factor` so that what lies at (x, y) of the frame stays there. */
export function zoomed(place: Place, factor: number, x: number, y: number, picture: Size, frame: Size): Place {
  const least = fitScale(picture, frame);
  const scale = Math.min(Math.max(place.scale * factor, least), Math.max(MOST, least));
  const by = scale / place.scale;
  return settled({ scale, x: x - (x - place.x) * by, y: y - (y - place.y) * by }, picture, frame);
}

/** The pixel of the picture at (x, y) of the frame; null beside the picture. */
export function pixelAt(place: Place, x: number, y: number, picture: Size): { x: number; y: number } | null {
  const column = Math.floor((x - place.x) / place.scale);
  const row = Math.floor((y - place.y) / place.scale);
  return column >= 0 && row >= 0 && column < picture.width && row < picture.height ? { x: column, y: row } : null;
}
