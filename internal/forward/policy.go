package forward

// policy is a way to spread requests over the targets of a release. Of the targets that
// are not failing, the one with the least load gets a request; of several, the first.
type policy struct {
	// first returns where the search for a target begins. It is a number of any size.
	first func(r *Release) uint64
	// load returns what counts as the load of a target.
	load func(u *upstream) int64
}
