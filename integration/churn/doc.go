// Package churn keeps 30 and more members of other people's clients joining, leaving and dying in one consumer group of a real
// kbroker process, and judges what they say of it. It has tests only; README.md has the rules by which they judge.
package churn
