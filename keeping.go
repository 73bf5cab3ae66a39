package parachute

import "sync"

// keeping loads the certificates of deployed hosts from storage, one after the other:
// after a start there may be thousands, and traffic has precedence.
var keeping queue

// queue runs jobs one at a time, in a goroutine that is there only while there are any.
type queue struct {
	// mu guards what follows.
	mu      sync.Mutex
	jobs    []func()
	running bool
}

// submit adds a job and returns at once.
func (q *queue) submit(job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, job)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.jobs) == 0 {
			q.jobs, q.running = nil, false
			q.mu.Unlock()
			return
		}
		job := q.jobs[0]
		q.jobs = q.jobs[1:]
		q.mu.Unlock()
		job()
	}
}
