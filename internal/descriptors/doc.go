// Package descriptors keeps some of the process's file descriptors for other things than
// traffic: whoever wants to find out why a proxy has run out of them, or to mend it, needs
// the admin socket, and that needs a descriptor for each call. Connections of clients and
// to targets leave the last ones alone.
//
// Nothing is counted: the system gives the lowest descriptor that is free (POSIX, "File
// Descriptor Allocation"), so one that is high says how many are in use.
package descriptors
