package main

import "math/rand/v2"

// attempts is how many orders the search begins with.
const attempts = 50

// order returns the files in an order in which few uses run back up: the files at its
// beginning use those behind them. It is the same for the same uses.
func order(uses graph) []int {
	rnd := rand.New(rand.NewPCG(1, 1))
	var best []int
	fewest := -1
	for range attempts {
		files := rnd.Perm(len(uses))
		for improve(uses, files) {
		}
		if n := len(upward(uses, files)); fewest < 0 || n < fewest {
			best, fewest = files, n
		}
	}
	return best
}

// improve moves each file to where the fewest of its uses run back up, and reports whether
// there was any to be moved.
func improve(uses graph, files []int) (moved bool) {
	for i := range files {
		to, gain := i, 0
		for _, step := range []int{1, -1} {
			now := 0
			for j := i + step; j >= 0 && j < len(files); j += step {
				now += passing(uses, files[i], files[j], step)
				if now > gain {
					to, gain = j, now
				}
			}
		}
		if gain == 0 {
			continue
		}
		moved = true
		file := files[i]
		if to > i {
			copy(files[i:to], files[i+1:to+1])
		} else {
			copy(files[to+1:i+1], files[to:i])
		}
		files[to] = file
	}
	return moved
}

// passing returns how many uses less run back up if a file passes another one, on its way to
// the end (step is 1) or to the beginning.
func passing(uses graph, file, other, step int) (gain int) {
	if _, ok := uses[file][other]; ok {
		gain -= step
	}
	if _, ok := uses[other][file]; ok {
		gain += step
	}
	return gain
}

// use is that of a file by another one.
type use struct{ from, to int }

// upward returns the uses that run back up in an order.
func upward(uses graph, files []int) (back []use) {
	place := make([]int, len(files))
	for i, file := range files {
		place[file] = i
	}
	for _, from := range files {
		for _, to := range files {
			if _, ok := uses[from][to]; ok && place[to] < place[from] {
				back = append(back, use{from, to})
			}
		}
	}
	return back
}
