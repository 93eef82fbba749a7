/** How far the mask and the one that it is compared with agree. */

import { effect } from "@preact/signals";
import { compare } from "../mask/tasks";
import type { Decoded } from "../mask/worker";
import { active, comparison } from "../state";

/** The two masks on show whose agreement is known, or being counted. */
let counted: [Decoded, Decoded] | null = null;

/** Count on how many pixels the two masks on show agree, whichever of them came last. */
async function measureAgreement(): Promise<void> {
  const picture = active.value;
  const first = picture?.result.value;
  const second = comparison.value ? picture?.other.value : null;
  if (!picture) return;
  if (!first?.mask || !second?.mask || String(first.mask.labels) !== String(second.mask.labels)) {
    counted = null;
    picture.agreement.value = null;
  } else if (counted?.[0] !== first.mask || counted[1] !== second.mask) {
    const pair: [Decoded, Decoded] = (counted = [first.mask, second.mask]);
    picture.agreement.value = null;
    const share = await compare(first.mask.indices, second.mask.indices);
    if (counted === pair) picture.agreement.value = share;
  }
}

/** Keep the share of agreement current from now on. */
export function watchAgreement(): void {
  effect(() => {
    void measureAgreement();
  });
}
