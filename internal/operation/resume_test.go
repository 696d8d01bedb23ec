package operation

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestResumeAfterAFailure(t *testing.T) {
	failing := true
	a, b := &script{}, &script{}
	b.apply = func(context.Context, *Run, int) error {
		if failing {
			return errors.New("no")
		}
		return nil
	}
	b.observe = func(context.Context, *Run, int) (Observation, error) {
		if failing || b.applied < 2 {
			return pending("")
		}
		return Observation{State: Done}, nil
	}
	r := newRig(t, map[string]Handler{"a": a, "b": b})
	require.ErrorIs(t, r.Start(t.Context(), plan("a", "b")), ErrUnfinished)
	seen := a.observed
	failing = false
	require.NoError(t, r.Resume(t.Context(), planID, here))
	require.Equal(t, seen, a.observed, "what is done is not looked at again")
	require.Equal(t, []string{"a started", "a done", "b started", "b failed", "b started", "b done", "finished"}, r.journal(t))
	view, err := r.Store.View(planID)
	require.NoError(t, err)
	require.Empty(t, view.Steps[1].Error)
}

func TestRefusals(t *testing.T) {
	failed := func(t *testing.T) *rig {
		r := newRig(t, map[string]Handler{"a": &script{apply: func(context.Context, *Run, int) error { return errors.New("no") }}})
		require.ErrorIs(t, r.Start(t.Context(), plan("a")), ErrUnfinished)
		return r
	}
	t.Run("another cluster", func(t *testing.T) {
		r := failed(t)
		for _, verb := range []func(context.Context, string, ResumeOptions) error{r.Resume, r.Abort} {
			err := verb(t.Context(), planID, ResumeOptions{ClusterUID: "uid-2", Context: "work"})
			require.ErrorIs(t, err, ErrOtherCluster)
			require.ErrorContains(t, err, `"home"`)
			require.ErrorContains(t, err, `"work"`)
			require.ErrorContains(t, err, "--context home")
			require.ErrorIs(t, verb(t.Context(), planID, ResumeOptions{}), ErrOtherCluster, "unknown is not the same")
		}
	})
	t.Run("a step that this version does not know", func(t *testing.T) {
		r := failed(t)
		r.Handlers = nil
		require.ErrorIs(t, r.Resume(t.Context(), planID, here), recovery.ErrUnsupported)
		require.ErrorIs(t, r.Start(t.Context(), plan("a")), recovery.ErrUnsupported)
	})
	t.Run("no such plan", func(t *testing.T) {
		r := failed(t)
		for _, id := range []string{"cnpg-recover-20261124-061502-aaaa", "../" + planID, "", "."} {
			require.ErrorIs(t, r.Resume(t.Context(), id, here), recovery.ErrNotFound, id)
		}
	})
	t.Run("the same plan twice", func(t *testing.T) {
		require.ErrorContains(t, failed(t).Start(t.Context(), plan("a")), "exist")
	})
}

func TestTwoProcessesOnOnePlan(t *testing.T) {
	begins, ends := make(chan struct{}), make(chan struct{})
	h := &script{apply: func(context.Context, *Run, int) error {
		close(begins)
		<-ends
		return nil
	}}
	r := newRig(t, map[string]Handler{"a": h})
	result := make(chan error)
	go func() { result <- r.Start(t.Context(), plan("a")) }()
	<-begins
	second := &Engine{Store: NewStore(r.Store.dir), Handlers: r.Handlers}
	err := second.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorContains(t, err, "another drctl on this computer")
	require.ErrorIs(t, second.Abort(t.Context(), planID, here), ErrBusy)
	views, _, err := second.Store.Unfinished()
	require.NoError(t, err, "looking is free")
	require.Equal(t, StateStarted, views[0].Steps[0].State)
	close(ends)
	require.NoError(t, <-result)
}
