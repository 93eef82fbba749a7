/** The picture with its mask: zoom, move, point, compare. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { drawByServer } from "../pictures/open";
import { comparison, isolated, opacity, pointed, view, type Picture, type Result } from "../state";
import { t } from "../texts";
import { Caption } from "./Caption";
import { listen } from "./gestures";
import { MaskLayer } from "./MaskLayer";
import { Readout, type Spot } from "./Readout";
import { SwipeHandle } from "./SwipeHandle";
import { fitScale, fitted, pixelAt, settled, zoomed, type Place, type Size } from "./zoom";
import { ZoomButtons } from "./ZoomButtons";

const STEP = 0.02; // of a side, for each press of an arrow key

export function Viewer({ picture }: { picture: Picture }) {
  const frame = useRef<HTMLDivElement>(null);
  const natural = useSignal<Size>({ width: picture.gallery?.width ?? 4, height: picture.gallery?.height ?? 3 });
  const room = useSignal<Size>({ width: 1, height: 1 });
  const place = useSignal<Place>({ scale: 1, x: 0, y: 0 });
  const spot = useSignal<Spot | null>(null);
  const swipe = useSignal(0.5);

  const result = picture.result.value;
  const other = comparison.value ? picture.other.value : null;
  const size: Size = result?.mask ?? natural.value;
  const panes = view.value === "split" ? 2 : 1;
  const latest = useRef(size);
  latest.current = size;

  const reset = (): void => {
    place.value = fitted(latest.current, room.value);
  };
  const zoomBy = (factor: number): void => {
    place.value = zoomed(place.value, factor, room.value.width / 2, room.value.height / 2, latest.current, room.value);
  };

  useLayoutEffect(reset, [picture, size.width, size.height, panes]);
  useLayoutEffect(() => {
    const pane = frame.current?.querySelector(".pane");
    if (!pane) return;
    const observer = new ResizeObserver(() => {
      const wasFitted = Math.abs(place.value.scale - fitScale(latest.current, room.value)) < 1e-6;
      room.value = { width: pane.clientWidth, height: pane.clientHeight };
      if (wasFitted || place.value.scale < fitScale(latest.current, room.value)) reset();
      else place.value = settled(place.value, latest.current, room.value);
    });
    observer.observe(pane);
    room.value = { width: pane.clientWidth, height: pane.clientHeight };
    reset();
    return () => observer.disconnect();
  }, [picture, panes]);

  /** The frame's coordinates of a point of the window; both panes show the same part. */
  const inFrame = (x: number, y: number): [number, number] => {
    const hovered = [...(frame.current?.querySelectorAll(".pane") ?? [])].find((pane) => {
      const box = pane.getBoundingClientRect();
      return x >= box.left && x < box.right;
    });
    const box = (hovered ?? frame.current?.querySelector(".pane"))?.getBoundingClientRect();
    return [x - (box?.left ?? 0), y - (box?.top ?? 0)];
  };
  const pointAt = (x: number, y: number, byKeys: boolean): void => {
    const mask = picture.result.value?.mask;
    if (!mask) return;
    const index = mask.indices[y * mask.width + x] ?? null;
    spot.value = { x, y, index, byKeys };
    pointed.value = index;
  };

  useEffect(() => {
    if (!frame.current) return;
    return listen(frame.current, {
      pan: (dx, dy) => {
        const { scale, x, y } = place.value;
        place.value = settled({ scale, x: x + dx, y: y + dy }, latest.current, room.value);
      },
      zoom: (factor, x, y) => {
        place.value = zoomed(place.value, factor, ...inFrame(x, y), latest.current, room.value);
      },
      point: (x, y) => {
        const pixel = pixelAt(place.value, ...inFrame(x, y), latest.current);
        if (pixel) pointAt(pixel.x, pixel.y, false);
        else leave();
      },
      leave: () => leave(),
      choose: () => isolatePointed(),
    });
  }, [picture]);

  useEffect(() => {
    if (result && !picture.url.value) void drawByServer(picture);
  }, [result]);

  const leave = (): void => {
    spot.value = null;
    pointed.value = null;
  };
  const isolatePointed = (): void => {
    const name = spot.value?.index == null ? null : (picture.result.value?.mask?.labels[spot.value.index] ?? null);
    isolated.value = name === isolated.value ? null : name;
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== frame.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = latest.current;
    const at = spot.value ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    const along = (length: number): number => (event.shiftKey ? 1 : Math.max(1, Math.round(length * STEP)));
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-along(width), 0],
      ArrowRight: [along(width), 0],
      ArrowUp: [0, -along(height)],
      ArrowDown: [0, along(height)],
    };
    const move = moves[event.key];
    if (move) {
      const clamp = (value: number, most: number): number => Math.min(Math.max(value, 0), most - 1);
      pointAt(clamp(at.x + move[0], width), clamp(at.y + move[1], height), true);
    } else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") reset();
    else if (event.key === "Enter" || event.key === " ") isolatePointed();
    else if (event.key === "Escape") {
      isolated.value = null;
      leave();
    } else if (event.key === "h") opacity.value = opacity.value > 0 ? 0 : 0.6;
    else return;
    event.preventDefault();
  };

  const cut = ((swipe.value * room.value.width - place.value.x) / place.value.scale).toFixed(2);
  const isSwipe = view.value === "swipe";
  const leftOf = `inset(0 calc(100% - ${cut}px) 0 0)`;
  const rightOf = `inset(0 0 0 ${cut}px)`;
  const zoom = place.value.scale / fitScale(size, room.value);

  const layers = (second: boolean): { name: string; result: Result | null; clip?: string }[] => {
    if (panes === 2) {
      if (comparison.value) return [second ? { name: "other", result: other } : { name: "mask", result }];
      return second ? [{ name: "mask", result }] : [];
    }
    if (!isSwipe) return [{ name: "mask", result }];
    if (!comparison.value) return [{ name: "mask", result, clip: rightOf }];
    return [
      { name: "mask", result, clip: leftOf },
      { name: "other", result: other, clip: rightOf },
    ];
  };
  const onImage = (event: Event): void => {
    const image = event.currentTarget as HTMLImageElement;
    natural.value = { width: image.naturalWidth, height: image.naturalHeight };
  };

  return (
    <div
      ref={frame}
      class="viewer"
      role="application"
      aria-roledescription={t().viewer.role}
      aria-label={t().viewer.label(picture.name)}
      aria-describedby="viewer-keys"
      tabIndex={0}
      data-zoomed={zoom > 1.01}
      onKeyDown={onKeyDown}
      onBlur={leave}
    >
      {[false, true].slice(0, panes).map((second) => (
        <div class="pane" key={String(second)}>
          <div
            class="sheet"
            data-near={place.value.scale > 2}
            style={{
              width: `${size.width}px`,
              height: `${size.height}px`,
              transform: `translate(${place.value.x}px, ${place.value.y}px) scale(${place.value.scale})`,
            }}
          >
            {picture.url.value && (
              <img
                src={picture.url.value}
                alt=""
                draggable={false}
                onLoad={onImage}
                onError={() => void drawByServer(picture)}
              />
            )}
            {layers(second).map((layer) =>
              layer.result ? (
                <MaskLayer
                  key={layer.name}
                  name={layer.name}
                  result={layer.result}
                  outlined={view.value === "outlines"}
                  {...(layer.clip ? { clip: layer.clip } : {})}
                />
              ) : null,
            )}
          </div>
          {comparison.value && (second || panes === 1) && other && <Caption result={other} side="right" />}
          {comparison.value && !second && other && result && <Caption result={result} side="left" />}
          {spot.value && result?.mask && (
            <Readout spot={spot.value} result={result} place={place.value} room={room.value} />
          )}
        </div>
      ))}
      {isSwipe && <SwipeHandle at={swipe} width={room.value.width} />}
      <ZoomButtons zoom={zoom} onZoom={zoomBy} onFit={reset} />
      <p id="viewer-keys" class="unseen">
        {t().viewer.keys}
      </p>
    </div>
  );
}
