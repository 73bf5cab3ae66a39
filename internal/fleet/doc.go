// Package fleet has several proxies decide together what their services are: all of them, or
// none. It knows neither where the decisions are kept, which is a [Store], nor how a proxy
// serves, which is a [Proxy].
//
// # A change
//
//	propose ─→ every live proxy prepares ─→ all acknowledge ─→ decide ─→ each applies ─→ each drains
//	              └──── refused, missing, superseded ───→ nothing has changed
//
// Whoever is asked for a change coordinates it. The decision is one compare-and-set in the
// store: before it nothing has changed anywhere, after it the change stands, whatever becomes of
// the coordinator. What the coordinator answers is made of acknowledgements alone.
//
// # Rules
//
//  1. Of two proposals for a service the newer wins, by the revision that the store has given
//     it. Ids and clocks order nothing.
//  2. An answer that was lost is no answer: an unknown outcome of a decision is looked up before
//     anything is said of it.
//  3. Whoever gives up what it has ready for a plan abandons the plan in the store first, so that
//     nothing is decided for which not everybody is ready. A plan whose coordinator does not wait for
//     it any more is abandoned by whoever sees that.
//  4. A store that cannot be reached is never told as a proposal that was superseded.
//  5. A watch is a hint and a poll is the truth: every proxy looks for what was decided, also if
//     nobody has told it to.
//  6. A proxy has a lease that is alive as long as its counter moves. Each observer measures
//     that by its own monotonic clock; no two clocks are compared.
//  7. A proxy beats before it reads the decisions, at the start and after each time that it could
//     not, and a coordinator reads the proxies after it has decided. So a proxy that joins is
//     waited for, or has read the decision.
//  8. What a proxy tells of itself goes with its lease: how far it is with what was decided, what still drains, and
//     what it has counted are of one moment. Of the proxies that live and are not behind, the first by name has
//     rollouts go on. That two may think so for a moment does no harm, since of their proposals one is decided.
//  9. A proxy may be several processes, of which one takes part. The next one begins when the one before has ceased
//     to, with its [Standing] and under the same name. It prepares again what that one had prepared.
package fleet
