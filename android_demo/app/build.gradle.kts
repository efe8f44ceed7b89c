// The app, with the models of the folder -Pmodels=FOLDER, which has one folder per run; android_demo/build.sh writes one.
import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "org.tfcompress.demo"
    compileSdk = 35
    defaultConfig {
        minSdk = 24
        targetSdk = 35
        versionCode = 1
        versionName = "0.1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFile("rules.pro")
            signingConfig = signingConfigs["debug"]
        }
    }
    sourceSets["main"].assets.srcDir(rootProject.file(providers.gradleProperty("models").getOrElse("models")))
    androidResources {
        noCompress += "tflite" // So that models can be mapped into memory.
        ignoreAssetsPattern = "!golden.json"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

kotlin { compilerOptions { jvmTarget = JvmTarget.JVM_11 } }

dependencies {
    implementation(project(":core"))
    implementation(project(":runtime"))
    implementation(libs.litert)
}
