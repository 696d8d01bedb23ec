package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Primary is the Pod that the operator calls a Cluster's primary.
func (l *RecoveryLab) Primary(ctx context.Context, cluster string) (*corev1.Pod, error) {
	pods, err := l.client.CoreV1().Pods(RecoveryNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "cnpg.io/cluster=" + cluster + ",cnpg.io/instanceRole=primary",
	})
	if err != nil {
		return nil, fmt.Errorf("lab: look for the primary of %s: %w", cluster, err)
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("lab: %s has %d primaries", cluster, len(pods.Items))
	}
	return &pods.Items[0], nil
}

// inPrimary runs a program beside the primary's PostgreSQL, not through the API server, and gives its
// standard output.
func (l *RecoveryLab) inPrimary(ctx context.Context, cluster string, env []string, command ...string) (string, error) {
	pod, err := l.Primary(ctx, cluster)
	if err != nil {
		return "", err
	}
	runner := l.Node.find(pod.Namespace, pod.Name)
	if runner == nil || runner.current() == nil {
		return "", fmt.Errorf("lab: Pod %s does not run", pod.Name)
	}
	cmd := runner.current().enter(ctx, command)
	cmd.Env = append(cmd.Env, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("lab: %s in Pod %s: %w\n%s", command[0], pod.Name, err, errOut.Bytes())
	}
	return strings.TrimSpace(out.String()), nil
}

// SQLIn runs SQL as the superuser in the primary of any Cluster, and gives the rows: one a line, columns
// separated by "|".
func (l *RecoveryLab) SQLIn(ctx context.Context, cluster, database, sql string) (string, error) {
	return l.inPrimary(ctx, cluster, nil, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
		"--set", "ON_ERROR_STOP=1", "--username", "postgres", "--dbname", database, "--command", sql)
}

// SQL is SQLIn for RecoveryDatabase in RecoveryCluster, whoever made that.
func (l *RecoveryLab) SQL(ctx context.Context, sql string) (string, error) {
	return l.SQLIn(ctx, RecoveryCluster, RecoveryDatabase, sql)
}

// Written is what WriteRows wrote.
type Written struct {
	// Count is how many rows the table has now.
	Count int
	// Committed is the database's clock just after the commit, UTC.
	Committed time.Time
}

// WriteRows adds n rows to RecoveryTable, which is made when it is not there, in one transaction.
func (l *RecoveryLab) WriteRows(ctx context.Context, n int) (Written, error) {
	_, err := l.SQL(ctx, fmt.Sprintf(`create table if not exists %[1]s (id bigserial primary key, note text not null);
		insert into %[1]s (note) select md5(random()::text) from generate_series(1, %[2]d);
		grant select on %[1]s to %[3]s`, RecoveryTable, n, RecoveryDatabase))
	if err != nil {
		return Written{}, err
	}
	row, err := l.SQL(ctx, `select count(*), to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') from `+RecoveryTable)
	if err != nil {
		return Written{}, err
	}
	count, clock, _ := strings.Cut(row, "|")
	written := Written{}
	if written.Count, err = strconv.Atoi(count); err != nil {
		return written, fmt.Errorf("lab: count of rows: %w", err)
	}
	if written.Committed, err = time.Parse(time.RFC3339Nano, clock); err != nil {
		return written, fmt.Errorf("lab: clock of the database: %w", err)
	}
	return written, nil
}

// RowHash is a hash of all rows of a table in RecoveryCluster, in the order of their first column.
func (l *RecoveryLab) RowHash(ctx context.Context, database, table string) (string, error) {
	return l.SQLIn(ctx, RecoveryCluster, database, "select md5(coalesce(string_agg(t::text, E'\\n' order by t), '')) from "+table+" t")
}

// SwitchWAL closes the present WAL segment, waits until it is archived, and gives its name.
func (l *RecoveryLab) SwitchWAL(ctx context.Context) (string, error) {
	segment, err := l.SQL(ctx, "select pg_walfile_name(pg_switch_wal())")
	if err != nil {
		return "", err
	}
	return segment, l.WaitArchived(ctx, segment)
}

// WaitArchived waits until PostgreSQL has archived a WAL file.
func (l *RecoveryLab) WaitArchived(ctx context.Context, name string) error {
	return l.poll(ctx, 2*time.Minute, func() error {
		waiting, err := l.SQL(ctx, "select count(*) from pg_ls_archive_statusdir() where name = '"+name+".ready'")
		if err == nil && waiting != "0" {
			err = fmt.Errorf("lab: %s is not archived", name)
		}
		return err
	})
}

// poll tries until it works, or the time is over.
func (l *RecoveryLab) poll(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
