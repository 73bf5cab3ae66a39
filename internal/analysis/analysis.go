// Package analysis tells from the answers of a release whether it fails more than it may.
//
// It knows counts and rates, and nothing of releases. Its test may be looked at as often as one
// likes: a release that is well is taken for a bad one in at most one of a hundred cases,
// however long it is watched. Tests for a fixed number of requests do not have that property,
// and a site with ten requests a minute cannot wait for the number that they need.
package analysis

import "math"

// Convincing are the odds at which a release is taken for bad: it would be as wrong in at most
// one of so many releases that are well.
const Convincing = 100

// minFailures is how many failures it takes: the first two requests of a release may fail
// for reasons of their own, and nothing else would be known of it.
const minFailures = 3

// Bad reports whether a release with so many failures of n requests fails more than limit
// allows.
func Bad(failures, n int64, limit float64) bool {
	return failures >= minFailures && Odds(failures, n, limit) >= Convincing
}

// alternatives is the number of rates above the limit that are tried as explanations.
const alternatives = 24

// maxRate is the highest of them. A rate of 1 would make one success refute it for ever.
const maxRate = 0.999

// Odds returns how much better a failure rate above limit explains that failures of n requests
// have failed than the rate limit does. It is the mean of the likelihood ratios over rates from
// 1.5 times the limit on, evenly spread on the logistic scale: a test martingale, which exceeds
// x with a probability of at most 1/x if the rate is at most limit (Ville's inequality; see
// Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023). With a
// limit that leaves no such rate it is 0.
func Odds(failures, n int64, limit float64) float64 {
	lowest := 1.5 * limit
	if limit <= 0 || lowest >= maxRate {
		return 0
	}
	from, to := logit(lowest), logit(maxRate)
	k, rest := float64(failures), float64(n-failures)
	var odds float64
	for i := range alternatives {
		rate := 1 / (1 + math.Exp(-(from + (to-from)*float64(i)/(alternatives-1))))
		odds += math.Exp(k*math.Log(rate/limit) + rest*math.Log((1-rate)/(1-limit)))
	}
	return odds / alternatives
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// baselineZ makes UpperBound a bound that the true rate is below in four of five cases.
const baselineZ = 0.8416

// UpperBound returns how high the failure rate may be of which failures of n requests have
// failed: the upper end of Wilson's score interval (E. B. Wilson, 1927). Without requests
// nothing is known, and it is 0.
func UpperBound(failures, n int64) float64 {
	if n <= 0 {
		return 0
	}
	total, z2 := float64(n), baselineZ*baselineZ
	p := float64(failures) / total
	spread := baselineZ * math.Sqrt(p*(1-p)/total+z2/(4*total*total))
	return min(1, (p+z2/(2*total)+spread)/(1+z2/total))
}

// Limit returns the failure rate that a release is judged against: what the operator allows,
// or twice what the release before may have had, of which failures of n requests have failed.
// Of few requests the upper bound says little, so it is three times what has failed at most:
// a release before without failures leaves the limit where the operator has it.
func Limit(allowed float64, failures, n int64) float64 {
	if failures <= 0 || n <= 0 {
		return allowed
	}
	likely := min(2*UpperBound(failures, n), 3*float64(failures)/float64(n))
	return min(1, max(allowed, likely))
}
