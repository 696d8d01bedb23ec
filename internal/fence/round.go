package fence

import (
	"slices"
	"sync"
	"time"
)

// round is one proof of several fences.
type round struct {
	hold    time.Duration
	members []*proof

	began time.Time
	// since is when the first of the refused requests in a row was sent, zero when there is none; running
	// is the time that they stand for at the slowest pace.
	since   time.Time
	running time.Duration
	// at is the member whose turn it is.
	at int
}

// run ends when every member is proven, gone, or failing: those it returns.
func (r *round) run() []*proof {
	r.began = time.Now()
	var failing []*proof
	for {
		begin := time.Now()
		refused := r.look()
		failing = append(failing, r.part()...)
		if refused {
			// begin, not now: what counts is when the last of the refused requests was sent.
			r.count(begin)
		} else {
			r.anew()
		}
		if r.holds(begin) {
			for _, member := range r.members {
				close(member.proven)
			}
			return failing
		}
		time.Sleep(probePause)
	}
}

func (r *round) count(begin time.Time) {
	if r.since.IsZero() {
		r.since = begin
		return
	}
	r.running += slowestPace
}

// anew begins the time again.
func (r *round) anew() {
	r.since, r.running = time.Time{}, 0
	for _, member := range r.members {
		member.running = 0
	}
}

// holds says that the proof is one; with nobody left it is over.
func (r *round) holds(begin time.Time) bool {
	if len(r.members) == 0 {
		return true
	}
	enough := !slices.ContainsFunc(r.members, func(p *proof) bool { return p.running < leastProbes })
	return enough && !r.since.IsZero() && min(begin.Sub(r.since), r.running) >= r.hold
}

// look asks for the members whose turn it is, all at once, and says whether every request was refused.
func (r *round) look() bool {
	turn := r.turn()
	refused := make([]bool, len(turn))
	var asking sync.WaitGroup
	for i, member := range turn {
		asking.Go(func() { refused[i] = member.probe() })
	}
	asking.Wait()
	all := true
	for i, member := range turn {
		switch {
		case refused[i]:
			member.running++
		case member.asker.Err() != nil:
			// Whoever asked is gone, and the request with it.
		case time.Since(r.began) > 2*r.hold:
			member.offences++
			fallthrough
		default:
			all = false
		}
	}
	return all
}

// turn are the next members: as many as it takes to ask each often enough in the time.
func (r *round) turn() []*proof {
	looks := max(1, int(r.hold/probePause))
	n := min((len(r.members)*leastProbes+looks-1)/looks, mostAtOnce, len(r.members))
	turn := make([]*proof, 0, n)
	for range n {
		r.at = (r.at + 1) % len(r.members)
		turn = append(turn, r.members[r.at])
	}
	return turn
}

// part lets go of members that nobody waits for any more, and of those that fail: they are returned.
func (r *round) part() []*proof {
	var failing []*proof
	r.members = slices.DeleteFunc(r.members, func(p *proof) bool {
		switch {
		case p.asker.Err() != nil:
			return true
		case p.offences >= mostOffences:
			failing = append(failing, p)
			p.running, p.offences = 0, 0
			return true
		}
		return false
	})
	return failing
}
