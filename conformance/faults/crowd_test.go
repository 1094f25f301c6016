package faults_test

const crowdEnv = "HOLDFAST_TEST_CROWD"

func crowd(addr string) error { return nil }
