plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.android) apply false
}

// Not "build": on file systems that ignore case, it would clash with Bazel's BUILD files.
allprojects { layout.buildDirectory = file("out") }
