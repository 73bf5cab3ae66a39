// Package spool keeps the bodies of messages until somebody can take them: the beginning in
// memory, and the rest, if there is more than may be in memory, in a file without a name. The
// system removes such a file when it is closed, however the process ends, so that nothing is
// left behind.
package spool
