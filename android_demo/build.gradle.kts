plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.android) apply false
}

// Not "build", because Bazel's BUILD files lie beside it and some file systems take the two for one name.
allprojects { layout.buildDirectory = file("out") }
