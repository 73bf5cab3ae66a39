// Package proxy is parachute's engine, the control plane: the table of services, the
// readiness gate, the switch, and the order of drains. Package forward carries the
// requests. The engine knows neither Caddy nor Prometheus; what it needs from its host it
// declares in [Store], [Certifier], [Followers] and [Fleet].
//
// # Words
//
// A service claims routes, pairs of (host, path prefix). A release is one
// immutable, numbered set of targets and options of a service. A deployment is
// the operation that takes a release from a [api.DeployRequest] to live traffic.
//
// # Invariants
//
//  1. A request is counted on a release before a byte of it is sent there, and
//     a release that is draining takes no new ones. [forward.Release.Acquire] is
//     one atomic add; whoever loses the race against the switch looks up again.
//  2. Every switch is one atomic store: of a line-up when the routes stay the same, of
//     the whole routing table when they change. No request ever waits for it.
//  3. Nothing that routing, the disk or another service can see changes before
//     the switch. Whatever fails earlier only gives back its route claims.
//  4. A line-up is on disk before requests go by it, so that a crash at any instant
//     restarts into releases that were healthy and still run.
//  5. Of two deployments of one service the newer wins: accepting it ends every
//     older one that has not begun to commit.
//  6. What a client sends never changes the health of a target.
//
// # Life of a deployment
//
//	validated ─→ probing ─→ healthy ─→ certified ─→ switched ─→ draining ─→ done
//	                │          │           │
//	                └──────────┴───────────┴─→ failed | superseded | cancelled
//
// Behind the switch, a release may be watching: all requests go to it, and the one before is
// ready to serve again. Before the switch, it may be a canary. Either ends in draining, or in
// the final states reverted, which is a release that has left again, and undecided, which is
// one that waits for somebody to decide. Its rollout goes on without the deployment then.
//
// A deployment is certified only if the service has TLS. Between that and switched the deployment
// commits: it takes the service's commit slot, writes the release to storage and
// switches. From the moment it begins to commit it can no longer be superseded or
// cancelled; a newer one queues for the slot and switches after it.
//
// # Locks
//
// Engine.mu guards the control plane: services, claims, deployments. It is held
// for map operations only, never over I/O, a channel wait or a callback. The request
// path takes it for one kind of request alone: a probe of the engine's own that comes
// back to it. Locks, in order: Engine.mu, rollout.mu, Deployment.mu, tally.mu, the locks of
// package forward. The commit slot of a service comes before all of these, and is held over
// I/O: whoever has it is the only one that changes the service's line-up. No lock is held while taking one further left. Engine.certifyingMu comes before all of
// them; it makes one step of looking whether a host still needs its certificate and
// telling the [Certifier].
package proxy
