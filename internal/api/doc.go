// Package api is the contract between parachute and everyone who drives it: the
// requests, results, events and errors of the JSON API on the admin endpoint, and the
// nouns in them. The command line, the engine, the tests and other programs speak it,
// so it imports nothing of ours.
//
// # What is stable
//
// Field names and codes never change their meaning, and none is removed within a
// version of the API. A field is added as optional: its zero value is what programs
// mean that do not know it. docs/openapi.yaml describes the same contract, and a test
// holds the two together.
package api
