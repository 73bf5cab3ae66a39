// Package fleettest has the tests that every [fleet.Store] has to pass, and what they are made
// of: proxies of a fleet in one process, and links to a store that fail when they are told to.
package fleettest
