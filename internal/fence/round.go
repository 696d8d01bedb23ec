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
	// witnesses are asked in every look, at is the member among the others whose turn it is.
	witnesses []*proof
	at        int
}

// run ends when every member is proven, gone, or failing: those it returns.
func (r *round) run() []*proof {
	r.began = time.Now()
	var failing []*proof
	for r.rank(); len(r.members) > 0; failing = append(failing, r.part()...) {
		begin := time.Now()
		if !r.look() {
			r.anew()
		} else if r.count(begin); r.holds(begin) {
			for _, member := range r.members {
				close(member.proven)
			}
			break
		}
		time.Sleep(probePause)
	}
	return failing
}

// count notes a look in which everything was refused, that began at a time. That, and not its end, is when
// the last of the refused requests was sent.
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

// holds says that the proof is one.
func (r *round) holds(begin time.Time) bool {
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

// turn are the witnesses and the next of the others: as many as it takes to ask each often enough in the
// time.
func (r *round) turn() []*proof {
	turn := slices.Clone(r.witnesses)
	others := len(r.members) - len(turn)
	looks := max(1, int(r.hold/probePause))
	n := min((others*leastProbes+looks-1)/looks, mostAtOnce, others)
	for n > 0 {
		r.at = (r.at + 1) % len(r.members)
		if member := r.members[r.at]; !slices.Contains(r.witnesses, member) {
			turn = append(turn, member)
			n--
		}
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
	if slices.ContainsFunc(r.witnesses, func(p *proof) bool { return !slices.Contains(r.members, p) }) {
		r.chooseWitnesses()
		r.anew()
	}
	return failing
}
