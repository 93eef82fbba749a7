/** What can go wrong on the way of a request, and what the page does about it by itself. */

export type FaultType =
  | "page_unreachable" // the app that serves this page does not answer
  | "server_unreachable"
  | "warming"
  | "overloaded"
  | "worker_died"
  | "timed_out"
  | "too_large"
  | "image_too_large"
  | "request_too_costly"
  | "response_too_large"
  | "unsupported_image"
  | "invalid_image"
  | "invalid_labels"
  | "invalid_option"
  | "invalid_request"
  | "out_of_memory"
  | "internal_error";

export class Fault extends Error {
  constructor(
    readonly type: FaultType,
    /** What the server says of it; empty where it says nothing. */
    message: string,
    /** Seconds after which the server wants to be asked again. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

const SAME: Record<string, FaultType> = {
  not_ready: "warming",
  device_lost: "worker_died",
  request_too_large: "too_large",
};
const KNOWN = new Set<string>([
  "server_unreachable",
  "overloaded",
  "worker_died",
  "timed_out",
  "too_large",
  "image_too_large",
  "request_too_costly",
  "response_too_large",
  "unsupported_image",
  "invalid_image",
  "invalid_labels",
  "invalid_option",
  "invalid_request",
  "out_of_memory",
  "internal_error",
]);
const BY_STATUS: Record<number, FaultType> = {
  400: "invalid_request",
  413: "too_large",
  415: "unsupported_image",
  502: "server_unreachable",
  503: "overloaded",
  504: "timed_out",
  507: "out_of_memory",
};

/** The fault that a response reports, by the type in its body or else by its status. */
export async function faultOf(response: Response): Promise<Fault> {
  let type = BY_STATUS[response.status] ?? "internal_error";
  let message = "";
  try {
    const { error } = (await response.json()) as { error: { type: string; message: string } };
    const named = SAME[error.type] ?? error.type;
    if (KNOWN.has(named) || named === "warming") type = named as FaultType;
    message = error.message;
  } catch {
    // No JSON: TorchServe and proxies answer some requests by themselves.
  }
  const after = Number(response.headers.get("Retry-After"));
  return new Fault(type, message, after > 0 ? after : null);
}

const PASSES = new Set<FaultType>(["page_unreachable", "server_unreachable", "warming", "overloaded", "worker_died"]);

/** Whether the fault goes away by itself, so that the same request is worth repeating. */
export const passes = (fault: Fault): boolean => PASSES.has(fault.type);

/** Whether a smaller copy of the picture would be accepted. */
export const isTooBig = (fault: Fault): boolean =>
  ["too_large", "image_too_large", "request_too_costly", "out_of_memory"].includes(fault.type);

/** Milliseconds until the next attempt: 0.5 s, doubled each time up to 8 s, or what the server asks for. */
export function delayBefore(attempt: number, fault: Fault): number {
  if (fault.retryAfter !== null) return Math.min(fault.retryAfter, 60) * 1000;
  return Math.min(500 * 2 ** attempt, 8000);
}
