package flip

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	namespace  = "cloudnative-pg"
	name       = "immich-database"
	v1, v2     = "immich-database-v1", "immich-database-v2"
	backupID   = "20261123T020000"
	clusterUID = "cluster-1"
	systemID   = "7412345678901234567"
	early      = "forked early"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// database is what stands in a Cluster's volumes.
type database struct {
	System   string
	Timeline int
	Rows     int
	History  string
}

// claim is a claim and the volume below it.
type claim struct {
	recovery.Volume
	// Cluster is the name that it is labelled for.
	Cluster string
}

// cluster is a Cluster with how many looks it takes until it is gone, or ready.
type cluster struct {
	recovery.LiveCluster
	Data    database
	Looks   int
	Manager string
}

// server is what a Barman server holds.
type server struct {
	WAL    bool
	Newest *recovery.Backup
	Kept   map[string]bool
}

// world is everything that a recovery touches, in memory. Each call of a port is counted; at the chosen
// one the process dies or the call fails.
type world struct {
	Clusters  map[string]*cluster
	Claims    map[string]*claim
	Secrets   map[string]string
	Schedules map[string]bool
	Backups   []recovery.BackupObject
	Servers   map[string]*server
	Fences    map[string]time.Time
	// Tree is the server that the checkout names, Commits the plans that committed, RemoteServer and
	// RemoteBootstrap what the remote builds.
	Tree                          string
	Commits                       map[string]string
	RemoteServer, RemoteBootstrap string
	// Running is the commit that an operation of Argo CD works on, Synced the last one it applied.
	Running, Synced string
	// Lost is what was done although its precondition did not hold.
	Lost []string

	app        *recovery.Application
	reach      recovery.Reach
	backup     recovery.Backup
	warnings   []string
	dirty      error
	ahead      int
	recovered  database
	log        string
	stuck      string
	classes    []string
	image      string
	archiving  string
	archiveWhy string
	backupFail string
	gaveUp     bool
	synced     int
	noTree     bool
	elsewhere  bool
	inTree     bool
	uids       int
	choice     BackupChoice
	findErr    error
	readFork   error

	calls  []string
	before func(call string) error
	after  func(call string)
}

// newWorld is a platform with one database that is to be recovered, in Git and owned by Argo CD.
func newWorld() *world {
	w := &world{
		Clusters: map[string]*cluster{}, Claims: map[string]*claim{}, Secrets: map[string]string{}, Schedules: map[string]bool{"nightly": false, "weekly": true},
		Servers: map[string]*server{v1: {WAL: true, Kept: map[string]bool{}}}, Fences: map[string]time.Time{}, Tree: v1, Commits: map[string]string{},
		RemoteServer: v1, RemoteBootstrap: "initdb", Synced: "c0",
		app:    &recovery.Application{Namespace: "argocd", Name: "immich-db", RepoURL: "https://git.example/platform.git", AutoSync: true},
		backup: recovery.Backup{ID: backupID, Status: "DONE", Timeline: 1, SystemID: systemID, SizeBytes: 3 << 30, EndTime: noon.Add(-9 * time.Hour), Restorable: true},
		reach: recovery.Reach{
			Timeline: 1, Segment: "000000010000000000000009", EndLSN: 0xA000000, ArrivedAt: noon.Add(-4 * time.Minute), SegmentSizeBytes: 16 << 20,
		},
		recovered: database{System: systemID, Timeline: 2, Rows: 4, History: "whole"},
		classes:   []string{"longhorn"}, image: "ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0", archiving: "true", inTree: true,
	}
	w.Clusters[name] = w.cluster(manifest{Namespace: namespace, Name: name, Server: v1, Bootstrap: "initdb", Class: "longhorn", Database: "immich"},
		database{System: systemID, Timeline: 1, Rows: 5})
	w.claims(w.Clusters[name])
	for _, suffix := range []string{"-app", "-superuser"} {
		w.Secrets[name+suffix] = w.Clusters[name].UID
	}
	return w
}

func (w *world) uid(prefix string) string {
	w.uids++
	return prefix + "-" + string(rune('a'+w.uids-1))
}

func (w *world) cluster(m manifest, data database) *cluster {
	return &cluster{Data: data, Manager: "argocd", LiveCluster: recovery.LiveCluster{
		Namespace: m.Namespace, Name: m.Name, UID: w.uid("uid"), PlanID: m.Plan, Bootstrap: m.Bootstrap, WriteServer: m.Server,
		Phase: "Cluster in healthy state", Ready: true, Primary: m.Name + "-1", Archiving: "true", StopDelay: 30 * time.Second, Manifest: m.raw(),
	}}
}

func (w *world) claims(c *cluster) {
	for _, suffix := range []string{"-1", "-1-wal"} {
		uid := w.uid("claim")
		w.Claims[c.Name+suffix] = &claim{Cluster: c.Name, Volume: recovery.Volume{
			Claim: c.Name + suffix, ClaimUID: uid, OwnerUID: c.UID, Name: "pv-" + uid, ReclaimPolicy: "Delete", SizeBytes: 20 << 30, StorageClass: "longhorn",
			AccessModes: []string{"ReadWriteOnce"},
		}}
	}
}

// manifest is all that these Clusters consist of.
type manifest struct {
	Namespace, Name, Server, Bootstrap, Source, Backup, Target, Class, Database, Plan string
}

func (m manifest) raw() json.RawMessage {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

func manifestOf(raw json.RawMessage) manifest {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(err)
	}
	return m
}

// call counts a call and may fail it; what it returns ends the call's effect.
func (w *world) call(ctx context.Context, call string) (func(), error) {
	w.calls = append(w.calls, call)
	end := func() {
		if w.after != nil {
			w.after(call)
		}
	}
	if ctx.Err() != nil {
		return end, ctx.Err()
	}
	if w.before != nil {
		return end, w.before(call)
	}
	return end, nil
}

func (w *world) lose(when bool, what string) {
	if when {
		w.Lost = append(w.Lost, what)
	}
}

// picture is the world as it can be compared.
func (w *world) picture() string {
	raw, err := json.MarshalIndent(w, "", " ")
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// flip is a new process in this world.
func (w *world) flip() *Flip {
	f := &Flip{
		Find: w.find, FromManifest: w.fromManifest, Cluster: fakeCluster{w}, Fence: fakeFence{w}, Archive: fakeArchive{w}, Render: fakeRenderer{},
		Git: fakeGit{w}, Argo: fakeArgo{w}, Now: func() time.Time { return noon }, inFlight: 6 * time.Millisecond, firstWAL: time.Millisecond,
	}
	if w.noTree {
		f.Git = nil
	}
	return f
}

func (w *world) database() recovery.Database {
	return recovery.Database{Namespace: namespace, Name: name, ServerName: w.Tree, Store: recovery.ObjectStore{DestinationPath: "s3://postgres-backups/cnpg/immich"}}
}

func (w *world) find(context.Context, cnpg.BackupQuery) (recovery.Database, recovery.Gaps, error) {
	if w.findErr != nil {
		return recovery.Database{}, nil, w.findErr
	}
	return w.database(), nil, nil
}

func (w *world) fromManifest(_ context.Context, raw json.RawMessage) (recovery.Database, error) {
	m := manifestOf(raw)
	db := w.database()
	db.Namespace, db.Name, db.ServerName = m.Namespace, m.Name, m.Server
	return db, nil
}

// engine is a process that keeps its plans in dir.
func (w *world) engine(dir string) *operation.Engine {
	return &operation.Engine{
		Store: operation.NewStore(dir), Handlers: w.flip().Handlers(), Poll: time.Microsecond,
		Retry: operation.Backoff{First: time.Microsecond, Most: time.Millisecond},
		Retryable: func(err error) bool {
			return errors.Is(err, recovery.ErrUnreachable) || errors.Is(err, recovery.ErrConflict)
		},
	}
}

var here = operation.ResumeOptions{ClusterUID: clusterUID, Context: "home"}

// sorted gives the keys of a map.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
