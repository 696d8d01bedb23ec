package lab

import (
	"context"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// report puts a mover's result, and what is kept of its lines, into the status. A log that cannot be had is no
// error, and leaves none.
// Source: perfectra1n/volsync internal/controller/utils/podlogs.go, updateMoverStatusForJob.
func (v *VolSync) report(ctx context.Context, r *replication, result string, phase corev1.PodPhase) {
	r.set(result, "latestMoverStatus", "result")
	r.set("", "latestMoverStatus", "logs")
	pods := v.client.CoreV1().Pods(r.GetNamespace())
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "job-name=" + jobName(r)})
	if err != nil {
		return
	}
	ended := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return pod.Status.Phase != phase })
	if len(ended) == 0 {
		return
	}
	newest := slices.MaxFunc(ended, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	text, err := pods.GetLogs(newest.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		if ctx.Err() == nil {
			v.stack.Logf("VolSync: log of %s/%s: %v", r.GetNamespace(), newest.Name, err)
		}
		return
	}
	keep := keepsLine
	if r.isSource() || v.options.KeepAllLines {
		keep = func(string) bool { return true }
	}
	r.set(keptLines(string(text), keep, v.options.LogBytes), "latestMoverStatus", "logs")
}

// keptLines are the last bytes of the lines that are kept; the first one may be cut.
func keptLines(text string, keep func(string) bool, most int) string {
	var kept []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); keep(line) {
			kept = append(kept, line)
		}
	}
	joined := strings.Join(kept, "\n")
	return strings.ToValidUTF8(joined[max(0, len(joined)-most):], "")
}

// keepsLine tells which lines of a mover that restores are kept: failures, and what there is where nothing was
// found. Neither the selected snapshot nor what Kopia restored is among them.
// Source: perfectra1n/volsync internal/controller/mover/kopia, LogFilter.
func keepsLine(line string) bool {
	lower := strings.ToLower(line)
	for _, part := range []string{"error", "failed", "unable to"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	for _, part := range []string{
		"=== Discovery Mode", "Available Snapshots", "No snapshots found", "No eligible snapshots",
		"Snapshot created successfully", "Snapshot restore completed", "Repository connected",
	} {
		if strings.Contains(line, part) {
			return true
		}
	}
	return strings.Contains(line, `"userName"`) && strings.Contains(line, `"hostName"`) ||
		regexp.MustCompile(`^[^@]+@[^:]+:.+\s+\d{4}-\d{2}-\d{2}`).MatchString(line)
}
